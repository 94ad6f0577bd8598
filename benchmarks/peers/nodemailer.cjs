// Nodemailer, pooled, by its public API. The job is the first argument; the report is the last line of the output.
'use strict';

const fs = require('fs');
const nodemailer = require('nodemailer');

const job = JSON.parse(process.argv[2]);
const { sender, letters } = JSON.parse(fs.readFileSync(`${job.folder}/letters.json`, 'utf8'));
const letter = letters[job.letter];
const raw = fs.readFileSync(`${job.folder}/message.eml`);
const attachment = job.kind === 'attachment' ? fs.readFileSync(`${job.folder}/attachment.bin`) : null;
const total = job.messages + job.warmup;
let accepted = 0;
let refused = 0;

function recipient(number) {
    const every = job.refused_every;
    return every && number % every === every - 1 ? `refused${number}@example.org` : `reader${number}@example.org`;
}

function message(number) {
    const to = recipient(number);
    if (job.kind === 'prepared') {
        return { raw, envelope: { from: 'shop@example.com', to } };
    }
    const fields = {
        from: sender,
        to: `Reader ${number} <${to}>`,
        subject: `${letter.subject}${number}`,
        text: `${letter.hello}${number},\n\n${letter.text}`,
        html: `<p>${letter.hello}${number},</p>\n${letter.html}`
    };
    if (attachment) {
        fields.attachments = [{ filename: 'report.bin', content: attachment }];
    }
    return fields;
}

async function timed(work) {
    await work(0, job.warmup);
    const cpu = process.cpuUsage();
    const started = process.hrtime.bigint();
    const octets = await work(job.warmup, total);
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    const used = process.cpuUsage(cpu);
    const status = fs.readFileSync('/proc/self/status', 'utf8');
    return {
        accepted,
        refused,
        seconds,
        cpu: (used.user + used.system) / 1e6,
        peak_kib: Number(/VmHWM:\s+(\d+)/.exec(status)[1]),
        octets: octets || 0
    };
}

async function send() {
    const transporter = nodemailer.createTransport({
        host: job.host,
        port: job.port,
        pool: true,
        secure: job.tls,
        ignoreTLS: !job.tls,
        tls: job.tls ? { ca: fs.readFileSync(`${job.folder}/ca.pem`) } : undefined,
        maxConnections: job.connections,
        maxMessages: job.max_messages || Infinity
    });
    // As many are under way as the window allows; the pool queues them.
    const work = (begin, end) =>
        new Promise((resolve, reject) => {
            let next = begin;
            let done = begin;
            if (begin === end) {
                return resolve();
            }
            const settled = () => {
                done++;
                if (done === end) {
                    return resolve();
                }
                more(1);
            };
            const more = count => {
                for (; count > 0 && next < end; count--) {
                    transporter.sendMail(message(next++), (err, info) => {
                        if (!err) {
                            accepted += info.accepted.length;
                            return settled();
                        }
                        if (err.code === 'EENVELOPE' && err.responseCode === 550) {
                            refused++;
                            return settled();
                        }
                        reject(err);
                    });
                }
            };
            more(job.window);
        });
    const report = await timed(work);
    transporter.close();
    return report;
}

async function compose() {
    const MailComposer = require('nodemailer/lib/mail-composer');
    const build = number =>
        new Promise((resolve, reject) => {
            new MailComposer(message(number)).compile().build((err, octets) => (err ? reject(err) : resolve(octets.length)));
        });
    return timed(async (begin, end) => {
        let octets = 0;
        for (let number = begin; number < end; number++) {
            octets += await build(number);
            accepted++;
        }
        return octets;
    });
}

(job.kind === 'compose' || job.kind === 'attachment' ? compose() : send()).then(
    report => {
        console.log(JSON.stringify(report));
        process.exit(0);
    },
    err => {
        console.error(err);
        process.exit(1);
    }
);
