/** Bundles the client of NATS for pages into src/sweep/nats.generated.ts, with the notices of the code it includes. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.ts';

const folder = new URL('../src/sweep/', import.meta.url);

const { code, notices } = await bundle(fileURLToPath(new URL('nats.ts', folder)), 'es');
const script = `/*!\n${notices}\n*/\n${code.trim()}\n`;
await writeFile(new URL('nats.generated.ts', folder), `export const script: string = ${JSON.stringify(script)};\n`);
