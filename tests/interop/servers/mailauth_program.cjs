// Verifies the DKIM signatures and the ARC chains of messages. Reads {module, records, messages} from standard input, the
// messages in base64, and writes for each what mailauth says.
'use strict';

const fs = require('node:fs');
const given = JSON.parse(fs.readFileSync(0, 'utf8'));
const { dkimVerify } = require(`${given.module}/lib/dkim/verify`);
const { arc } = require(`${given.module}/lib/arc`);

// In place of the DNS: strings of 255 octets, as they come from there.
async function resolver(name, type) {
    const text = given.records[name.toLowerCase()];
    if (type !== 'TXT' || text === undefined) {
        throw Object.assign(new Error(`no ${type} for ${name}`), { code: 'ENOTFOUND' });
    }
    return [text.match(/.{1,255}/g)];
}

async function main() {
    const verdicts = [];
    for (const message of given.messages) {
        const found = await dkimVerify(Buffer.from(message, 'base64'), { resolver });
        const chain = found.arc && found.arc.chain ? await arc(found.arc, { resolver }) : null;
        verdicts.push({
            dkim: found.results.map(({ status, signingDomain, selector, algo, format }) => ({
                result: status.result,
                comment: status.comment,
                domain: signingDomain,
                selector,
                algorithm: algo,
                form: format
            })),
            arc: chain && chain.status.result
        });
    }
    process.stdout.write(JSON.stringify(verdicts));
}

main();
