/** What `saccade look` shows in the browser. */
import type { Colour } from '../look/paint';
import { formatMachine, type Machine } from '../machine';
import { formatPercent } from '../text/format';
import { type Child, element, paragraph, scrollingTable, section, warning } from './dom';

export interface LookPage {
  readonly model: string;
  /** What was looked at, and by which weights. */
  readonly subject: string;
  readonly weights: string;
  readonly isRandom: boolean;
  /** Whether shares are of the places of the picture, or probabilities. */
  readonly ofPlaces: boolean;
  readonly classes: readonly {
    readonly name: string;
    readonly share: number;
    readonly colour?: Colour | undefined;
    /** The probability after a second look, where there was one. */
    readonly after?: number | undefined;
  }[];
  readonly sights: readonly {
    readonly title: string;
    readonly note: string;
    readonly width: number;
    readonly height: number;
    /** PNG, in base64. */
    readonly png: string;
  }[];
  readonly machine: Machine;
  readonly runtime: readonly string[];
}

export function lookView(page: LookPage): readonly Child[] {
  const { subject, weights, isRandom, ofPlaces, classes, sights, machine, runtime } = page;
  const [first, ...others] = sights.map(figureOf);
  const isTwice = classes.some(({ after }) => after !== undefined);
  const header = element(
    'tr',
    {},
    element('th', { scope: 'col' }, 'class'),
    element(
      'th',
      { scope: 'col', class: 'number' },
      ofPlaces ? 'share of places' : isTwice ? 'first look' : 'probability',
    ),
    ...(isTwice ? [element('th', { scope: 'col', class: 'number' }, 'second look')] : []),
  );
  const caption = ofPlaces ? 'Classes of the places' : 'The likeliest classes';
  return [
    paragraph(subject),
    isRandom ? warning(weights) : paragraph(weights, 'muted'),
    element('div', { class: 'sights' }, ...(first ? [first] : []), scrollingTable(caption, header, classes.map(rowOf))),
    section('What it looked at', element('div', { class: 'sights' }, ...others)),
    paragraph(`${formatMachine(machine)}. ${runtime.join('; ')}.`, 'muted'),
  ];
}

function rowOf({ name, share, colour, after }: LookPage['classes'][number]): HTMLElement {
  const swatch = colour && element('span', { class: 'swatch' });
  if (swatch && colour) swatch.style.background = `rgb(${colour.map((value) => Math.round(255 * value)).join(' ')})`;
  const label = element('td', {}, ...(swatch ? [swatch] : []), name);
  const numbers = [share, after].flatMap((each) => (each === undefined ? [] : formatPercent(each)));
  return element('tr', {}, label, ...numbers.map((number) => element('td', { class: 'number' }, number)));
}

export function figureOf({ title, note, width, height, png }: LookPage['sights'][number]): HTMLElement {
  const image = element('img', { src: `data:image/png;base64,${png}`, alt: title, width, height });
  const caption = element('figcaption', {}, element('strong', {}, title), ' ', note);
  return element('figure', { class: width > 2 * height ? 'sight wide' : 'sight' }, image, caption);
}
