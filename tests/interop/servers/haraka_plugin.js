// Haraka's plugin for the tests: who may send to whom, what is refused, and a book of what was taken.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const DSN = require('haraka-dsn');

const MOST_RECIPIENTS = 100;
const home = process.env.HARAKA;

// Nobody's name server is asked.
exports.hook_lookup_rdns = next => next(OK, 'localhost');

// It writes each reply by itself, and each would wait for the client's system to acknowledge the one before it.
exports.hook_connect = (next, connection) => {
    connection.client.targetsocket.setNoDelay(true);
    next();
};

exports.hook_rcpt = function (next, connection, [recipient]) {
    if (!connection.relaying) {
        return next(DENY, 'log in first');
    }
    if (/^refused/.test(recipient.user)) {
        return next(DENY, 'no such user');
    }
    // Haraka has put the recipient into the list before it asks.
    if (connection.transaction.rcpt_to.length > MOST_RECIPIENTS) {
        return next(DENYSOFT, DSN.proto_too_many_rcpts('too many recipients', 452));
    }
    next(OK);
};

exports.hook_data_post = function (next, connection) {
    const subject = connection.transaction.header.get('Subject').trim();
    next(...(subject === 'virus' ? [DENY, 'refused for its content'] : [CONT]));
};

// What relays for those who are logged in comes by this way. It is on the disk before it is taken.
exports.hook_queue_outbound = function (next, connection) {
    const { header, rcpt_to: recipients } = connection.transaction;
    const taken = {
        message_id: header.get('Message-ID').trim(),
        recipients: recipients.map(recipient => recipient.address)
    };
    // A disk that gets full takes the beginning of a line, behind which the next one must not stand.
    fs.appendFile(path.join(home, 'store', 'taken'), `\n${JSON.stringify(taken)}\n`, error =>
        error ? next(DENYSOFT, DSN.sys_disk_full(error.code, 452)) : next(OK)
    );
};
