import { getOrMake } from '../bounded-map';
import type { Expression, InputName } from './expression';

/** One node of an expression, its arguments being earlier steps. */
export interface Step {
  readonly node: Expression;
  readonly args: readonly number[];
  /** What its value depends on. */
  readonly inputs: ReadonlySet<InputName>;
}

const known = new WeakMap<Expression, readonly Step[]>();

/** An expression in the order of evaluation, equal nodes once; the last step is the whole. */
export function stepsOf(expression: Expression): readonly Step[] {
  return getOrMake(known, expression, () => stepsOfAll([expression]).steps);
}

/** The steps of several expressions, and the step that each of them is. */
export function stepsOfAll(expressions: readonly Expression[]): {
  readonly steps: readonly Step[];
  readonly roots: readonly number[];
} {
  const steps: Step[] = [];
  const places = new Map<Expression, number>();
  const equals = new Map<string, number>();
  const tables: unknown[] = [];
  const visit = (node: Expression): number => {
    let place = places.get(node);
    if (place !== undefined) return place;
    const args = node.args.map(visit);
    const key = [node.operation, node.kind, detail(node, tables), ...args].join(' ');
    place = equals.get(key);
    if (place === undefined) {
      const inputs = new Set<InputName>(args.flatMap((arg) => [...(steps[arg] as Step).inputs]));
      if ('name' in node) inputs.add(node.name);
      place = steps.push({ node, args, inputs }) - 1;
      equals.set(key, place);
    }
    places.set(node, place);
    return place;
  };
  const roots = expressions.map(visit);
  return { steps, roots };
}

/** What a node's value depends on. */
export function inputsOf(expression: Expression): ReadonlySet<InputName> {
  return (stepsOf(expression).at(-1) as Step).inputs;
}

function detail(node: Expression, tables: unknown[]): string {
  if ('value' in node) return Object.is(node.value, -0) ? '-0' : `${node.value}`;
  if ('name' in node) return node.name;
  if (!('table' in node)) return '';
  if (!tables.includes(node.table)) tables.push(node.table);
  return `${tables.indexOf(node.table)}`;
}
