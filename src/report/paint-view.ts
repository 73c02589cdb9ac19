/** What `saccade paint` shows in the browser. */
import { formatMachine, type Machine } from '../machine';
import { formatPercent } from '../text/format';
import { type Child, element, paragraph, scrollingTable } from './dom';
import { figureOf, type LookPage } from './look-view';

export interface PaintPage {
  readonly sights: LookPage['sights'];
  /** How likely each is in the picture. */
  readonly garments: readonly {
    readonly word: string;
    readonly isAsked: boolean;
    readonly before: number;
    readonly after?: number | undefined;
  }[];
  readonly facts: readonly string[];
  readonly machine: Machine;
}

export function paintView({ sights, garments, facts, machine }: PaintPage): readonly Child[] {
  const isChanged = garments.some(({ after }) => after !== undefined);
  const names = ['garment', 'asked for', ...(isChanged ? ['before', 'after'] : ['in the picture'])];
  const header = element('tr', {}, ...names.map((name) => element('th', { scope: 'col' }, name)));
  const rows = garments.map(({ word, isAsked, before, after }) => {
    const cells = [
      word,
      isAsked ? 'yes' : '',
      formatPercent(before),
      ...(after === undefined ? [] : [formatPercent(after)]),
    ];
    return element('tr', {}, ...cells.map((cell, at) => element('td', { class: at > 1 && 'number' }, cell)));
  });
  return [
    element('div', { class: 'sights' }, ...sights.map(figureOf)),
    scrollingTable('How likely each garment is in the picture, by a classifier', header, rows),
    ...facts.map((fact) => paragraph(fact)),
    paragraph(`${formatMachine(machine)}.`, 'muted'),
  ];
}
