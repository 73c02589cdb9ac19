/** The loss of a training as an SVG file. */
import { meansOf } from '../text/curve';
import { significant } from '../text/format';
import type { TrainingHistory } from '../train';

const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [720, 360, 64, 40, 24, 40];
/** Points of a line, at most. */
const MOST_POINTS = 600;

/** Losses by step, and those of validation, as SVG. */
export function lossSvg(title: string, { losses, validation }: TrainingHistory): string {
  const steps = losses.length;
  const learned = meansOf(losses, MOST_POINTS);
  const all = [...learned, ...validation.map(({ loss }) => loss)];
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const x = (step: number) => (LEFT + (step / Math.max(1, steps)) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (loss: number) => (TOP + ((most - loss) / (most - least || 1)) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const points = learned.map((loss, at) => `${x(((at + 0.5) * steps) / learned.length)},${y(loss)}`);
  const marks = validation.map(({ steps, loss }) => `${x(steps)},${y(loss)}`);
  const ticks = [most, (most + least) / 2, least].map(
    (loss) =>
      `<path d="M${LEFT} ${y(loss)}H${WIDTH - RIGHT}" stroke="#8888" fill="none"/><text x="${LEFT - 8}" y="${y(loss)}" text-anchor="end" dominant-baseline="middle">${significant(loss)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="#888">
<title>${escaped(title)}</title>
<text x="${LEFT}" y="20" font-size="14">${escaped(title)}</text>
${ticks.join('\n')}
<polyline points="${points.join(' ')}" fill="none" stroke="#4269d0" stroke-width="1.5"/>
<polyline points="${marks.join(' ')}" fill="none" stroke="#ff725c" stroke-width="1.5"/>
${marks.map((mark) => `<circle cx="${mark.split(',')[0]}" cy="${mark.split(',')[1]}" r="3" fill="#ff725c"/>`).join('')}
<text x="${LEFT}" y="${HEIGHT - 14}">steps 0 to ${steps} →</text>
<text x="${WIDTH - RIGHT}" y="${HEIGHT - 14}" text-anchor="end"><tspan fill="#4269d0">● loss</tspan>${marks.length > 0 ? ' <tspan fill="#ff725c">● validation</tspan>' : ''}</text>
</svg>
`;
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
