// The program behind NodeSmtpServer: takes every message of whoever logs in, and reports it on standard output.
'use strict';

const fs = require('node:fs');
const settings = JSON.parse(process.argv[2]);
const { SMTPServer } = require(settings.module);

const report = what => process.stdout.write(`${JSON.stringify(what)}\n`);

// Only the header is looked at; the rest is read and forgotten.
function messageId(header) {
    const found = /^message-id:\s*(\S+)/im.exec(header);
    return found ? found[1] : '';
}

const server = new SMTPServer({
    name: 'smtp-server.example',
    secure: settings.tls === 'implicit',
    cert: fs.readFileSync(settings.certificate),
    key: fs.readFileSync(settings.key),
    authMethods: ['PLAIN', 'LOGIN', 'CRAM-MD5', 'XOAUTH2'],
    logger: false,
    onAuth(auth, session, done) {
        if (auth.method === 'XOAUTH2') {
            if (auth.username === settings.username && auth.accessToken === settings.password) {
                return done(null, { user: auth.username });
            }
            return done(null, { data: { status: '401', schemes: 'bearer' } });
        }
        const known =
            auth.username === settings.username &&
            (auth.method === 'CRAM-MD5' ? auth.validatePassword(settings.password) : auth.password === settings.password);
        done(known ? null : new Error('wrong user or password'), { user: auth.username });
    },
    onData(stream, session, done) {
        let header = '';
        stream.on('data', block => {
            if (header.length < 65536) {
                header += block.toString('latin1');
            }
        });
        stream.on('end', () => {
            if (/^subject: virus/im.test(header)) {
                return done(Object.assign(new Error('5.7.1 refused for its content'), { responseCode: 554 }));
            }
            report({
                message_id: messageId(header.split('\r\n\r\n', 1)[0]),
                recipients: session.envelope.rcptTo.map(to => to.address)
            });
            done();
        });
    }
});

server.on('error', error => process.stderr.write(`${error.stack}\n`));
server.listen(settings.port, settings.host, () => report({ port: server.server.address().port }));
process.on('SIGTERM', () => process.exit(0));
