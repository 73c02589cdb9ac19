/** The twelve fixed masks of LongCA-bench: their forms, and whether a kernel that skips empty tiles takes time as they say. */

import { area } from '../../masks/area';
import { full } from '../../masks/band';
import { flashMaskColumns } from '../../masks/flashmask';
import { LONGCA_MASKS, type LongCaParams } from '../../masks/longca';
import { disagreements } from '../../masks/longca-disagreements';
import { oneHead } from '../../masks/mask';
import { fromSlices, sliceArea } from '../../masks/slices';
import { pearson } from '../../measure/statistics';
import { seesFixed } from '../../methods/sparse/longca/reference';
import { type LongCaSettings, staticParams } from '../../methods/sparse/longca/settings';
import { blockMap } from '../../ops/attention/block-map/cpu';
import { formatPercent, significant } from '../../text/format';
import { byLabel, chart, defineExperiment, figure, listed, type MeasureContext, share, together } from '../experiment';
import { timeBesideCausal } from '../mask-speed';

const NAMES = LONGCA_MASKS.map(({ name }) => name);
/** Masks that are no band or documents of one. */
const IRREGULAR = NAMES.slice(6);

/** The example of the notes: documents of 5, 7, 12 and 8 tokens, of 8, 4, 12 and 8 where they are whole blocks. */
const EXAMPLE = { tokens: 32, lengths: [5, 7, 12, 8], window: 4, prefix: 10, block: 4 };
const EXAMPLES: Readonly<Record<string, Partial<LongCaParams>>> = {
  'prefix-lm-document': { prefix: 3 },
  'block-causal-document': { lengths: [8, 4, 12, 8] },
};
const AREAS = [1024, 528, 282, 157, 268, 150, 292, 349, 573, 169, 644, 208];

export const experiment = defineExperiment({
  title: 'the forms of the twelve fixed masks, and the time of a kernel that skips empty tiles',
  claims: {
    forms: {
      claim: 'Slices, predicate and columns of each mask say the same, and its area follows from the slices.',
      source: 'reconstructed from the code: one definition of each mask',
      criteria: {
        agreeing: share('share of the masks whose forms agree on an example of 32 tokens', [1, 1]),
        areas: share('share of them whose area is the one expected', [1, 1]),
      },
      byConstruction: true,
    },
    authors: {
      claim: "The authors' own forms of a mask disagree where there is a prefix, by a column of each, and in windows.",
      source: 'code, counted on 60 tokens',
      criteria: {
        prefix: figure('pairs that differ under a causal prefix', [20, 20], [0, 3600]),
        documents: figure('under prefixes of documents', [24, 24], [0, 3600]),
      },
      byConstruction: true,
    },
    tiles: {
      claim: 'The time of a kernel that skips empty tiles is proportional to the tiles that are not empty.',
      source: 'reconstructed',
      criteria: { fit: share('R² of time by tiles over the twelve masks', [0.95, 1], [0.8, 1]) },
      untested: 'A kernel that reads columns is not there: all forms become tiles here.',
      timed: true,
    },
    irregular: {
      claim: 'On the six irregular masks only kernels that skip what is not seen are efficient.',
      source: 'notes on the paper, from a third party',
      criteria: {
        least: figure(
          'least speed-up over all pairs on an irregular mask, of what its area allows',
          [0.6, 1.4],
          [0.4, 1.6],
          [0, 2],
        ),
      },
      untested: 'The kernels of the paper are of GPUs.',
      timed: true,
    },
  },
  measure: { forms, authors, ...together(['tiles', 'irregular'], speed) },
});

function forms() {
  const place = oneHead(EXAMPLE.tokens, EXAMPLE.tokens);
  const found = LONGCA_MASKS.map(({ name, mask, slices }) => {
    const params = { ...EXAMPLE, ...EXAMPLES[name] };
    const [own, painted, sees] = [mask(params), fromSlices(slices(params)), seesFixed(name, params)];
    const columns = flashMaskColumns(own, place);
    let agrees = true;
    for (let i = 0; i < place.n; i++)
      for (let j = 0; j < place.m; j++) {
        const hidden = (from: Int32Array, to: Int32Array) => (from[j] as number) <= i && i < (to[j] as number);
        const byColumns = !hidden(columns.lts, columns.lte) && !hidden(columns.uts, columns.ute);
        const seen = own.sees(i, j, place);
        agrees &&= seen === painted.sees(i, j, place) && seen === sees(i, j, 0, 0) && seen === byColumns;
      }
    return {
      agrees,
      area: area(own, place),
      bySlices: slices(params).reduce((sum, slice) => sum + sliceArea(slice), 0),
    };
  });
  const agreeing = found.filter(({ agrees, area, bySlices }) => agrees && area === bySlices).length;
  const right = found.filter(({ area }, at) => area === AREAS[at]).length;
  return {
    measured: `of ${NAMES.length} masks the forms agree on ${agreeing}, the area is the one expected on ${right}`,
    values: { agreeing: agreeing / NAMES.length, areas: right / NAMES.length },
    details: `Every pair of 32 tokens. Areas: ${listed(
      found.map(({ area }) => area),
      String,
    )}.`,
  };
}

function authors() {
  const [prefix, documents, window, global] = disagreements() as [D, D, D, D];
  return {
    measured: `${prefix.differing} and ${documents.differing} pairs differ under prefixes; windows see ${window.areas.join(' or ')} pairs, with global tokens ${global.areas.join(' or ')}`,
    values: { prefix: prefix.differing ?? Number.NaN, documents: documents.differing ?? Number.NaN },
    details: `${[prefix, documents, window, global].map(({ mask, forms }) => `${mask}: ${forms}`).join('; ')}. The slices of global-sliding-window were counted on the authors' code.`,
  };
}
type D = ReturnType<typeof disagreements>[number];

async function speed(context: MeasureContext) {
  const { times, tiles, areas, n, d } = await timesOf(context);
  const fit = pearson(tiles, times) ** 2;
  const rates = byLabel(NAMES, (_, at) => ((times[0] as number) / (times[at] as number)) * (areas[at] as number));
  const irregular = IRREGULAR.map((name) => rates[name] as number);
  return {
    tiles: {
      measured: `R² ${significant(fit)}, from ${formatPercent(Math.min(...tiles))} to ${formatPercent(Math.max(...tiles))} of the tiles`,
      values: { fit },
      details: `n = ${n}, 4 heads of ${d}, f32, windows of 256, blocks of 256, documents as the benchmark draws them; tiles of 24 queries and 6 keys.`,
      series: chart(
        `Milliseconds, n = ${n}`,
        { mask: NAMES },
        { measured: times, 'by its tiles': tiles.map((share) => share * (times[0] as number)) },
      ),
    },
    irregular: {
      measured: IRREGULAR.map((name, at) => `${name} ${formatPercent(irregular[at] as number)}`).join(', '),
      values: { least: Math.min(...irregular) },
      details: `Of the speed-up over all pairs, n = ${n}, that the area allows. Dense attention with a mask takes the time of all pairs, whatever the mask.`,
      series: chart(
        `Rate of the pairs seen, of that under no mask, n = ${n}`,
        { mask: NAMES },
        { share: Object.values(rates) },
      ),
    },
  };
}

interface Times
  extends Readonly<Record<'times' | 'tiles' | 'areas', readonly number[]>>,
    Readonly<Record<'n' | 'd', number>> {}

async function timesOf(context: MeasureContext): Promise<Times> {
  const [n, h, d] = context.quick ? [512, 2, 16] : [2048, 4, 64];
  const settings = (mask: string): LongCaSettings => ({
    mask,
    window: 256,
    block: 256,
    ratio: 0.2,
    acrossQueries: false,
    seed: 0,
  });
  const params = byLabel(NAMES, (name) => staticParams(settings(name), n));
  const masks = byLabel(NAMES, (name, at) =>
    (LONGCA_MASKS[at] as (typeof LONGCA_MASKS)[number]).mask(params[name] as LongCaParams),
  );
  const problem = { n, h, d, masks, sees: byLabel(NAMES, (name) => seesFixed(name, params[name] as LongCaParams)) };
  const { contest } = await timeBesideCausal([problem], 30, context);
  const extent = { b: 1, n, m: n, h, g: h };
  const all = { tiles: blockMap(full(), extent).visited, area: area(full(), extent) };
  return {
    n,
    d,
    times: NAMES.map((name) => contest.medians[name]?.[0] as number),
    tiles: NAMES.map((name) => blockMap(masks[name] as never, extent).visited / all.tiles),
    areas: NAMES.map((name) => area(masks[name] as never, extent) / all.area),
  };
}
