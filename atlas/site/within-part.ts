/** How near the weights of queries lie, the counterpart of reach for methods without a mask. */
import { type Helper, latest } from './ask';
import { draw, headOf, live, type MethodPage, part } from './live';
import { $, grouped } from './page';
import { withinPlot } from './plots';

/** Shares that differ by less look alike. */
const ALIKE = 0.08;

export function startWithin({ data, form }: MethodPage, weigher: Helper): () => Promise<void> {
  if (!part('within')) return async () => undefined;
  const headField = $<HTMLInputElement>('#head');
  const update = latest(() =>
    live('within', async (box) => {
      const setting = form.setting();
      const head = headOf(headField, setting);
      const found = await weigher.ask('weightsWithin', { setting, head });
      const { shares, alike } = found;
      // Where keys near and far weigh alike, there is nothing to see.
      box.hidden = shares.every((share, at) => Math.abs(share - alike[at]) < ALIKE);
      const json = { setting, head, shares: [...shares], alike: [...alike] };
      draw(box, `${data.name}-weight-by-distance`, (width) => withinPlot(width, found, data), json);
      const tokensOf = (share: number) => grouped(shares.findIndex((each) => each >= share - 1e-9) + 1);
      return `On average half of a query’s weight, by magnitude, lies on keys nearer than ${tokensOf(0.5)} tokens, and nine tenths nearer than ${tokensOf(0.9)}.`;
    }),
  );
  headField.addEventListener('input', update);
  return update;
}
