/** Small plots of what was measured for a claim, drawn at build: they need no script. */
import type { Series } from '../../src/experiments/experiment';
import { significant } from '../../src/text/format';
import { spread } from '../site/spread';
import { type Html, html } from './html';

const [WIDTH, HEIGHT] = [310, 150];
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 102, 8, 34];
const LINE_HEIGHT = 13;
/** Letters of a label that fit beside the plot. */
const LETTERS = 14;
/** Values over a wider range lie on a logarithmic axis. */
const WIDE = 30;
const INKS = ['--family', '--ink-kernel', '--ink-fixed', '--ink-conv', '--ink-chosen', '--ink-linear'];

const shown = (value: number) => String(Number(value.toPrecision(3)));

/** Lines over places at even distances, named at their ends. */
export function seriesPlot({ title, x, lines }: Series): Html {
  const all = lines.flatMap(({ values }) => values.filter((value) => value !== null));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const isLog = least > 0 && most / least > WIDE;
  const [low, high] = isLog ? [least / 1.2, most * 1.2] : [Math.min(0, least), most === 0 ? 1 : most * 1.05];
  const scaled = (value: number) =>
    isLog ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low || 1);
  const down = (value: number) => TOP + (1 - scaled(value)) * (HEIGHT - TOP - BOTTOM);
  const last = x.values.length - 1;
  const right = (at: number) => LEFT + (last === 0 ? 0.5 : at / last) * (WIDTH - LEFT - RIGHT);
  const drawn = lines.map(({ label, values }, index) => {
    const points = values.flatMap((value, at) => (value === null ? [] : [[right(at), down(value)] as const]));
    return { label, points, ink: `var(${INKS[index % INKS.length]})` };
  });
  const named = drawn
    .filter(({ points }) => points.length > 0)
    .sort((a, b) => a.points.at(-1)![1] - b.points.at(-1)![1]);
  const places = spread(
    named.map(({ points }) => points.at(-1)![1]),
    named.map(() => LINE_HEIGHT),
    HEIGHT - BOTTOM + LINE_HEIGHT,
  );
  const ticks = isLog ? [least, Math.sqrt(least * most), most] : [low, (low + most) / 2, most];
  const every = Math.ceil(x.values.length / 5);
  const said = `${title}: ${lines.map(({ label, values }) => `${label} ${values.map((value) => (value === null ? 'none' : significant(value))).join(', ')}`).join('; ')}`;
  return html`<figure class="series"><figcaption>${title}</figcaption><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${said}">
${ticks.map((tick) => html`<path class="grid" d="M${LEFT} ${down(tick).toFixed(1)}H${WIDTH - RIGHT}"/><text x="${LEFT - 5}" y="${(down(tick) + 4).toFixed(1)}" text-anchor="end">${shown(tick)}</text>`)}
${x.values.map((value, at) => at % every === 0 && html`<text x="${right(at).toFixed(1)}" y="${HEIGHT - BOTTOM + 15}" text-anchor="middle">${String(value).slice(0, 8)}</text>`)}
<text x="${WIDTH - RIGHT}" y="${HEIGHT - 4}" text-anchor="end">${x.label} →</text>
${drawn.map(({ points, ink }) => html`<path class="line" stroke="${ink}" d="M${points.map((point) => point.map((at) => at.toFixed(1)).join(' ')).join('L')}"/>${points.map(([cx, cy]) => html`<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="2" fill="${ink}"/>`)}`)}
${named.map(({ label, ink }, at) => html`<text x="${WIDTH - RIGHT + 7}" y="${(places[at] + 4).toFixed(1)}" fill="${ink}">${label.length > LETTERS ? `${label.slice(0, LETTERS - 1)}…` : label}</text>`)}</svg></figure>`;
}
