/**
 * The process in which a worker's jobs run: the same command line, asked for one case after the other. It gets { words } and answers
 * { code }; what it prints on stderr says why.
 */
import { main } from './main';

process.on('message', async ({ words }: { readonly words: readonly string[] }) => {
  process.send?.({ code: await main(words) });
});
process.on('disconnect', () => process.exit());
