/** Evaluation of one pair of query and key in float64, exactly as JavaScript would. */
import type { Expression } from './expression';
import { OPERATIONS } from './operations';
import { stepsOf } from './steps';

/** What is the same for all pairs of a head. */
export type Fixed = Readonly<Record<'b' | 'h' | 'n' | 'm', number>>;

/** One element for each step, as operations take arrays. */
const memories = new WeakMap<Expression, readonly Float64Array[]>();

/** The value at one point; booleans are 0 and 1. */
export function evaluate(expression: Expression, q: number, k: number, fixed: Fixed, score = Number.NaN): number {
  const steps = stepsOf(expression);
  let values = memories.get(expression);
  if (!values) {
    values = steps.map(() => new Float64Array(1));
    memories.set(expression, values);
  }
  for (let at = 0; at < steps.length; at++) {
    const { node, args } = steps[at]!;
    const out = values[at]!;
    if ('value' in node) out[0] = node.value;
    else if ('name' in node) {
      const { name } = node;
      out[0] = name === 'q' ? q : name === 'k' ? k : name === 'score' ? score : fixed[name];
    } else {
      const x = values[args[0]!]!;
      if ('table' in node) out[0] = node.table.values[x[0]!] ?? Number.NaN;
      else OPERATIONS[node.operation].loop(out, x, values[args[1] ?? 0]!, values[args[2] ?? 0]!, 1);
    }
  }
  return values[steps.length - 1]![0]!;
}
