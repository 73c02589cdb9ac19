/** What methods are called. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Method } from '../../src/methods/define';
import type { Model } from '../../src/models/define';
import { findPaper } from '../../src/papers/find';
import { escaped } from '../site/highlight';
import { Html } from '../site/html';
import { folderOf } from './standing';

/** As its README says. */
export const titleOf = (method: Method) =>
  readFileSync(resolve(folderOf(method.name), 'README.md'), 'utf8')
    .split('\n', 1)[0]
    .replace('# ', '');

/** For lists and plots. */
export const shortTitle = (method: Method) => titleOf(method).replace(/ with .*/, '');

/** As its summary or its paper spells its name, or else the words of that. */
export function modelTitle({ name, summary, paper }: Model): string {
  const [spelled] = new RegExp(`\\b${name}\\b`, 'i').exec(`${summary} ${findPaper(paper)?.name}`) ?? [];
  return spelled ?? capital(name.replaceAll('-', ' '));
}

/** A title on a page, where words that others were joined to may break. */
export const breakable = (title: string) => new Html(escaped(title).replace(/(?<=[a-z])(?=[A-Z])/g, '<wbr>'));

export const capital = (text: string) => text[0].toUpperCase() + text.slice(1);
