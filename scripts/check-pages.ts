/**
 * Refuses methods without a page that fits them, when it is imported: pages are modules of their own, which Vite cannot load
 * later (`check-papers.ts`).
 */
import { checkedPage } from '../src/methods/check-page';
import { methods } from '../src/methods/registry';

const names = methods.map(({ name }) => name);
await Promise.all(methods.map((method) => checkedPage(method, names)));
