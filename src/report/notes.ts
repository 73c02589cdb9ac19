/** The notes of a comparison. */
import { type ComparisonReport, hasLoss, needsTraining } from '../compare/comparison';
import { significant } from '../text/format';

/** Warnings of methods about their results on these inputs. */
export function warningsOf({ rows }: Pick<ComparisonReport, 'rows'>): string[] {
  return rows.flatMap(({ label, warning }) => (warning === undefined ? [] : [`${label}: ${warning}.`]));
}

/** Why some rows have no error, and what they show instead; undefined if all have one. */
export function trainingNote({ rows, extents: { m } }: Pick<ComparisonReport, 'rows' | 'extents'>): string | undefined {
  const untrained = rows.filter(needsTraining);
  if (untrained.length === 0) return undefined;
  const negative = untrained.some(({ entropy }) => !entropy) ? '; – where weights are negative' : '';
  return [
    'Rows without an error are of methods that need training to match softmax attention: on these inputs an error would say nothing.',
    `What counts is what they cost, and how their attention spreads beside the exact one: its entropy in bits, the mean over heads and a few queries (0: all on one key, ${significant(Math.log2(m))}: alike on all ${m})${negative}.`,
  ].join(' ');
}

/** What the losses of language models are; undefined if there are none. */
export function lossNote({ rows }: Pick<ComparisonReport, 'rows'>): string | undefined {
  if (!rows.some(hasLoss)) return undefined;
  const each = rows.flatMap(({ label, loss }) =>
    loss?.layers ? [`${label}: ${loss.layers.map(lossText).join(', ')}`] : [],
  );
  const layers = each.length > 0 ? ` Layer by layer: ${each.join('; ')}.` : '';
  return `Loss is the mean cross entropy of the next token, in nats, when a causal variant takes the place of the model's own attention in this layer, and in all layers, without any training for it.${layers}`;
}

/** A loss, with as many digits as differences between attentions need. */
export const lossText = (loss: number) => loss.toFixed(3);

/** What was not measured because no methods were named; undefined if everything was. */
export function leftOutNote({ leftOut }: Pick<ComparisonReport, 'leftOut'>): string | undefined {
  if (!leftOut || leftOut.variants === 0) return undefined;
  const { variants, methods } = leftOut;
  const none = methods.length > 0 ? `, among them all of ${methods.join(', ')}` : '';
  const left = variants === 1 ? '1 more variant was' : `${variants} more variants were`;
  return `${left} left out${none}: --methods all measures everything, --methods NAME all variants of one.`;
}
