/** Runs one example in a worker of its own, which ends with it. */
const examples = import.meta.glob(['../../examples/*.ts', '!../../examples/digits.ts']);

/** A message from a running example to its page. */
export type ExampleNews = { readonly line: string } | { readonly error: string } | 'done';

const tell = (news: ExampleNews) => postMessage(news);

addEventListener('message', async ({ data: name }: MessageEvent<string>) => {
  console.log = (...parts: unknown[]) => tell({ line: parts.join(' ') });
  try {
    await examples[`../../examples/${name}.ts`]!();
    tell('done');
  } catch (error) {
    tell({ error: error instanceof Error ? error.message : String(error) });
  }
});
