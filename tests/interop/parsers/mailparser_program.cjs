// Reads messages with npm's mailparser: hex, one a line, on standard input; one line of JSON for each on standard output.
'use strict';

const readline = require('node:readline');
const { MailParser } = require(process.argv[2]);

const people = found =>
    (found ? found.value : []).flatMap(one => (one.group ? one.group : [one])).map(one => [one.name, one.address]);

// The parser's own events are used and not its simpleParser(), which trims texts and makes one of the other.
function read(message) {
    return new Promise((resolve, reject) => {
        const parser = new MailParser({ skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true, skipImageLinks: true });
        const found = { text: null, html: null, parts: [] };
        parser.on('headers', headers => {
            found.subject = headers.get('subject') || '';
            for (const [key, name] of [['from', 'from'], ['to', 'to'], ['cc', 'cc'], ['reply_to', 'reply-to']]) {
                found[key] = people(headers.get(name));
            }
        });
        parser.on('data', data => {
            if (data.type === 'text') {
                found.text = data.text === undefined || data.text === false ? null : data.text;
                found.html = data.html === undefined || data.html === false ? null : data.html;
                return;
            }
            const blocks = [];
            data.content.on('data', block => blocks.push(block));
            data.content.on('end', () => {
                found.parts.push({
                    filename: data.filename || '',
                    type: data.contentType,
                    cid: data.contentId || '',
                    content: Buffer.concat(blocks).toString('hex')
                });
                data.release();
            });
        });
        parser.on('end', () => resolve(found));
        parser.on('error', reject);
        parser.end(message);
    });
}

async function main() {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        process.stdout.write(`${JSON.stringify(await read(Buffer.from(line, 'hex')))}\n`);
    }
}

main();
