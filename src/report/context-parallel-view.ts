/** What `saccade simulate context-parallel` shows in the browser. */
import * as Plot from '@observablehq/plot';
import { MECHANISMS, type Mechanism, type MechanismCost } from '../simulate/context-parallel';
import { formatBytes, formatRatio, formatTime } from '../text/format';
import { type Child, element, paragraph, section } from './dom';
import { sortableTable } from './sortable-table';

export interface ContextParallelRow {
  readonly devices: number;
  readonly tokens: number;
  /** The most work of a device beside the mean, if each takes a run of tokens. */
  readonly contiguous: number;
  readonly mechanisms: readonly MechanismCost[];
}

/** The cheapest mechanism, if one can run. */
interface Cheapest {
  readonly devices: number;
  readonly tokens: number;
  readonly mechanism: Mechanism | undefined;
  readonly seconds: number | undefined;
  /** The time of the next one beside its own. */
  readonly ratio: number | undefined;
}

export interface ContextParallelReport {
  readonly setting: readonly string[];
  readonly rows: readonly ContextParallelRow[];
  readonly cheapest: readonly Cheapest[];
}

export function contextParallelView({ setting, rows, cheapest }: ContextParallelReport): readonly Child[] {
  return [
    ...setting.map((text) => paragraph(text)),
    section(
      'The cheapest mechanism',
      paragraph('Both passes over one document, by a model of links; in a cell how much longer the next one takes.'),
      cheapestPlot(cheapest, 860),
    ),
    ...rows.map(({ devices, tokens, contiguous, mechanisms }) =>
      section(
        `${devices} devices, ${tokens} tokens`,
        sortableTable('The busiest device', COLUMNS, mechanisms),
        paragraph(
          `Runs of tokens in the place of zigzag give the busiest device ${formatRatio(contiguous)} the mean's work.`,
        ),
      ),
    ),
  ];
}

const both = ({ forward, backward }: MechanismCost, part: 'computing' | 'exchange' | 'exposed') =>
  forward[part] + backward[part];

const seconds = (header: string, value: (cost: MechanismCost) => number) => ({
  header,
  value,
  cell: (cost: MechanismCost) => formatTime(1e3 * value(cost)),
});

const sent = (header: string, pass: 'forward' | 'backward') => ({
  header,
  value: (cost: MechanismCost) => cost[pass].elementsSent,
  cell: (cost: MechanismCost) => `${(cost[pass].elementsSent / 1e6).toFixed(1)} M`,
});

const COLUMNS = [
  { header: 'mechanism', value: ({ mechanism }: MechanismCost) => mechanism },
  { header: 'heads x tokens', value: ({ ulysses, ring }: MechanismCost) => `${ulysses} x ${ring}` },
  sent('sent forward', 'forward'),
  sent('backward', 'backward'),
  {
    header: 'held',
    value: ({ backward }: MechanismCost) => backward.bytesHeld,
    cell: ({ backward }: MechanismCost) => formatBytes(Math.round(backward.bytesHeld)),
  },
  seconds('computing', (cost) => both(cost, 'computing')),
  seconds('exchange', (cost) => both(cost, 'exchange')),
  seconds('not hidden', (cost) => both(cost, 'exposed')),
  seconds('both passes', (cost) => cost.seconds),
  { header: '', value: ({ refused }: MechanismCost) => refused ?? '' },
];

const lengthName = (tokens: number) => (tokens < 2 ** 20 ? `${tokens / 1024}K` : `${Math.round(tokens / 2 ** 20)}M`);

function cheapestPlot(cheapest: readonly Cheapest[], width: number): Element {
  const lengths = [...new Set(cheapest.map(({ tokens }) => tokens))].sort((a, b) => b - a);
  const names = MECHANISMS.filter((name) => cheapest.some(({ mechanism }) => mechanism === name));
  const axes = { x: 'devices', y: 'tokens' };
  const plot = Plot.plot({
    width,
    height: 60 + 44 * lengths.length,
    marginLeft: 64,
    marginBottom: 44,
    style: { background: 'transparent', color: 'var(--text)', fontSize: '12px' },
    x: { type: 'band', label: 'Devices →' },
    y: { type: 'band', domain: lengths, tickFormat: lengthName, label: '↑ Tokens' },
    color: { domain: names, scheme: 'Observable10' },
    marks: [
      Plot.cell(cheapest, { ...axes, fill: 'mechanism', fillOpacity: 0.55, inset: 1, title: describe }),
      Plot.text(cheapest, {
        ...axes,
        text: ({ ratio }: Cheapest) => (ratio === undefined ? '' : formatRatio(ratio)),
        fill: 'var(--text)',
      }),
    ],
  });
  const color = plot.scale('color');
  const keys = names.map((name) => {
    const dot = element('span', { style: `color: ${color?.apply(name)}`, 'aria-hidden': 'true' }, '● ');
    return element('span', { style: 'margin-right: 1.25rem; display: inline-block' }, dot, name);
  });
  return element('figure', {}, element('figcaption', {}, ...keys), plot);
}

const describe = ({ devices, tokens, mechanism, seconds = 0 }: Cheapest) =>
  `${devices} devices, ${lengthName(tokens)} tokens: ${mechanism ?? 'none'}, ${formatTime(1e3 * seconds)}`;
