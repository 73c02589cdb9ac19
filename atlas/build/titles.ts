/** What methods are called. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Method } from '../../src/methods/define';
import { folderOf } from './standing';

/** As its README says. */
export const titleOf = (method: Method) =>
  readFileSync(resolve(folderOf(method.name), 'README.md'), 'utf8')
    .split('\n', 1)[0]
    .replace('# ', '');

/** For lists and plots. */
export const shortTitle = (method: Method) => titleOf(method).replace(/ with .*/, '');
