/** Bundles the report's app, its hash and its style into src/report/app.generated.ts, with the notices of the code it includes. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.ts';

const folder = new URL('../src/report/', import.meta.url);

export async function buildReport(): Promise<void> {
  const { code, notices } = await bundle(fileURLToPath(new URL('app.ts', folder)), 'iife');
  const style = await readFile(new URL('style.css', folder), 'utf8');
  const script = `/*!\n${notices}\n*/\n${code.trim()}`;
  for (const mark of ['</script', '<!--', '\r']) {
    if (script.includes(mark))
      throw new Error(`the report's script contains ${JSON.stringify(mark)}, which a page cannot inline`);
  }
  const scriptHash = `sha256-${createHash('sha256').update(script).digest('base64')}`;
  const source = Object.entries({ script, scriptHash, style: style.trim() })
    .map(([name, text]) => `export const ${name}: string = ${JSON.stringify(text)};\n`)
    .join('');
  await writeFile(new URL('app.generated.ts', folder), source);
}

if (import.meta.main) await buildReport();
