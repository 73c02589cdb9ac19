/** Which captured numbers a function of pairs needs exactly, since integers must stay exact. */
import type { Expression, InputName } from './expression';
import type { Operation } from './operations';
import { stepsOfAll } from './steps';

/** Their operands are 32-bit integers, or exponents. */
const WHOLE: readonly (Operation | 'read')[] = [
  ...(['read', 'lookup', 'power'] as const),
  ...(['bitAnd', 'bitOr', 'bitXor', 'bitNot', 'shiftLeft', 'shiftRight', 'shiftRightUnsigned'] as const),
];
/** Rounding would give a completely different result, unless the operands are rounded anyway. */
const JUMPING: readonly string[] = [
  ...(['remainder', 'floor', 'ceil', 'trunc', 'round', 'less', 'lessOrEqual', 'equal'] satisfies Operation[]),
];

/** Those used in an index, bits, an exponent, or a function that jumps at integers; all others may be rounded to float32. */
export function exactNumbers(expressions: readonly Expression[]): ReadonlySet<InputName> {
  const { steps } = stepsOfAll(expressions);
  const isExact = steps.map(() => false);
  const exact = new Set<InputName>();
  for (let at = steps.length - 1; at >= 0; at--) {
    const { node, args, inputs } = steps[at] as (typeof steps)[0];
    if ('name' in node && node.name[0] === 'c' && isExact[at]) exact.add(node.name);
    const isRounded = [...inputs].some((name) => name === 'score' || name[0] === 't');
    const ofAll = isExact[at] || (JUMPING.includes(node.operation) && !isRounded);
    const first = node.operation === 'power' ? 1 : 0;
    const ofSome = (WHOLE as readonly string[]).includes(node.operation);
    args.forEach((arg, place) => {
      if (ofAll || (ofSome && place >= first)) isExact[arg] = true;
    });
  }
  return exact;
}
