/** The examples that run in the page, as they stand. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { highlighted } from '../site/highlight';
import { Html, html } from '../site/html';
import { ROOT } from './standing';

interface Example {
  readonly name: string;
  readonly source: string;
}

/** The same files as `site/example-worker.ts` has: digits.ts wants pictures of a package and a minute. */
export const examples: readonly Example[] = readdirSync(resolve(ROOT, 'examples'))
  .filter((file) => file.endsWith('.ts') && file !== 'digits.ts')
  .map((file) => ({
    name: file.replace('.ts', ''),
    source: readFileSync(resolve(ROOT, 'examples', file), 'utf8').trim(),
  }));

export function exampleBox({ name, source }: Example): Html {
  return html`<figure class="example" data-live="example" data-example="${name}" data-state="idle"><div class="code"><pre tabindex="0"><code>${new Html(highlighted(source))}</code></pre></div><div class="actions"><button class="run" type="button" data-run>Run</button><button class="run" type="button" data-cancel hidden>Cancel</button><span class="quiet" data-said role="status">examples/${name}.ts, in this page</span></div><pre class="output" data-output tabindex="0" aria-label="Output of ${name}" hidden></pre></figure>`;
}
