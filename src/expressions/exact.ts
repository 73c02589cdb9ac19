/** Which captured numbers a function over pairs must have as they are, since integers are to stay exact. */
import type { Expression, InputName } from './expression';
import type { Operation } from './operations';
import { stepsOfAll } from './steps';

/** Their operands are integers of 32 bits, or say how often something is multiplied. */
const WHOLE: readonly (Operation | 'read')[] = [
  ...(['read', 'lookup', 'power'] as const),
  ...(['bitAnd', 'bitOr', 'bitXor', 'bitNot', 'shiftLeft', 'shiftRight', 'shiftRightUnsigned'] as const),
];
/** Rounding would give quite another result, unless the operands are rounded anyway. */
const JUMPING: readonly string[] = [
  ...(['remainder', 'floor', 'ceil', 'trunc', 'round', 'less', 'lessOrEqual', 'equal'] satisfies Operation[]),
];

/** Those of which an index, bits, an exponent, or a jump at an integer is made; all others may be any float32 as well. */
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
