/** Cost against length: of the method as its setting says, of exact attention, and of any others. */
import { formatRatio } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { draw, live, type MethodPage } from './live';
import { $, $$, grouped } from './page';
import { costPlot, lineStyles, type Metric, written } from './plots';
import { lengthIn, lengthName } from './problem';

export function startCost({ data, form }: MethodPage, counter: Helper): () => Promise<void> {
  const others = $$<HTMLInputElement>('[name=beside]');
  const update = latest(() =>
    live('cost', async (box) => {
      const setting = form.setting();
      const metric = $<HTMLSelectElement>('[name=metric]', box).value as Metric;
      const beside = others.filter(({ checked }) => checked).map(({ value }) => value);
      for (const place of $$('[data-beside]', box))
        place.textContent = beside.map((name) => data.names[name]).join(', ') || 'others';
      const { lengths, lines } = await counter.ask('costSeries', { setting, beside });
      const styleOf = lineStyles(
        lines.map(({ method }) => method),
        data,
      );
      for (const { checked, value, parentElement } of others)
        parentElement!.style.setProperty('--family', checked ? styleOf(value).ink : '');
      const now = lengthIn(setting.extents);
      const plot = { lengths, lines, metric, own: data, now };
      draw(box, `${data.name}-cost`, (width) => costPlot(width, plot), { setting, lengths, lines });
      const own = lines.find(({ method }) => method === data.name)!;
      const near = lengths.reduce((best, n, at) => (n <= now && own.costs[at] ? at : best), 0);
      const [mine, exact] = [own, lines.find(({ method }) => method === data.baseline)].map(
        (line) => line?.costs[near]?.[metric],
      );
      if (mine === undefined || (data.baseline && exact === undefined))
        return 'The setting fits none of the lengths shown.';
      const absent = lines
        .filter(({ costs }) => costs.every((cost) => !cost?.[metric]))
        .map(({ method }) => data.names[method]);
      const missing =
        absent.length > 0 && beside.length > 0
          ? ` Not shown, since they have none or fit no length: ${absent.join(', ')}.`
          : '';
      const much = exact === undefined || data.name === data.baseline ? '' : besideExact(mine, exact);
      const [length, name] = [grouped(lengths[near]), lengthName(data)];
      const counted = lengths[near] === 1 ? name.replace(/s$/, '') : name;
      const at = name.length === 1 ? `With ${name} = ${length}:` : `At ${length} ${counted}`;
      return `${at} ${written(metric, mine)}${much}.${missing}`;
    }),
  );
  for (const choice of $$('[name=metric], [name=beside]')) choice.addEventListener('change', update);
  return update;
}

function besideExact(mine: number, exact: number): string {
  if (exact === 0) return mine === 0 ? ', as with exact attention' : ', of which exact attention has none';
  if (mine > 0.95 * exact && mine < 1.05 * exact) return ', about as much as exact attention';
  return mine < exact
    ? `, ${formatRatio(exact / mine)} less than exact attention`
    : `, ${formatRatio(mine / exact)} as much as exact attention`;
}
