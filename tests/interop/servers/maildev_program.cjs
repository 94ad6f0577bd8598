// The program behind Maildev: runs it as its command line does, and reports on standard output what it has stored.
'use strict';

const path = require('node:path');
const settings = JSON.parse(process.argv[2]);
const MailDev = require(settings.module);
const mailserver = require(path.join(settings.module, 'lib', 'mailserver.js'));

const report = what => process.stdout.write(`${JSON.stringify(what)}\n`);

MailDev({
    silent: true,
    disableWeb: true,
    smtp: settings.port,
    ip: settings.host,
    mailDirectory: settings.folder,
    incomingUser: settings.username,
    incomingPass: settings.password,
    incomingSecure: true,
    incomingCert: settings.certificate,
    incomingKey: settings.key
});

// It answers before it has parsed what it took; what it said yes to is still stored when it is told to end.
let accepted = 0;
let stored = 0;
const take = mailserver.smtp.onData;
mailserver.smtp.onData = (stream, session, done) =>
    take(stream, session, (error, text) => {
        accepted += error ? 0 : 1;
        done(error, text);
    });
mailserver.on('new', email => {
    if (!Array.isArray(email.envelope.to)) {
        // Read again from its folder after a restart.
        return;
    }
    stored += 1;
    report({
        message_id: email.messageId ? `<${email.messageId}>` : '',
        recipients: email.envelope.to.map(to => to.address)
    });
});
mailserver.listen(() => report({ port: settings.port }));
// Its own way to end waits for clients to leave.
process.removeAllListeners('SIGTERM');
process.on('SIGTERM', () => {
    mailserver.smtp.server.close();
    mailserver.smtp.removeAllListeners('error').on('error', () => {});
    mailserver.smtp.connections.forEach(connection => connection._socket.destroy());
    setInterval(() => stored >= accepted && process.exit(0), 20);
});
