/** Registers for the values of a kernel, by linear scan: values that do not fit lie in memory, but none that an inner loop uses. */
import { Address, ARGUMENTS, type Code, type Instruction, type Register } from './kernel';

/** From the first instruction that writes a value to the last that uses it. */
interface Interval {
  readonly start: number;
  end: number;
  /** About how often it is used. */
  weight: number;
  /** The inner loop that uses it. */
  loop?: string | undefined;
}

interface Loop {
  readonly name: string;
  readonly start: number;
  end: number;
  isInner: boolean;
}

/** Where values are: registers by number, or, below 0, places in memory: -1 is the first. */
export interface Places {
  readonly integers: readonly number[];
  readonly vectors: readonly number[];
  /** How many places in memory there are. */
  readonly spilled: number;
}

/** There are not as many registers as an inner loop, or vectors, need. */
export class NoRegister extends Error {}

/** @throws {NoRegister} if an inner loop needs more registers than there are */
export function placesOf(code: Code, integers: number): Places {
  const found = intervals(code);
  const integer = scan(found.integer, integers, 'integers');
  const vector = scan(found.vector, code.target.vectors, 'vectors');
  if (vector.spilled > 0)
    throw new NoRegister(`vectors do not fit into ${code.target.vectors} registers outside of inner loops`);
  return { integers: integer.places, vectors: vector.places, spilled: integer.spilled };
}

/** What an instruction reads and writes. */
function registersOf({ from, to, count }: Instruction): Register[] {
  const all = [...from, count, to].flatMap((operand) =>
    operand instanceof Address ? [operand.base, operand.index] : [operand],
  );
  return all.filter((operand): operand is Register => typeof operand === 'object');
}

function intervals({ instructions, registers }: Code) {
  const found = { integer: new Array<Interval>(registers.integer), vector: new Array<Interval>(registers.vector) };
  for (let id = 0; id < ARGUMENTS; id++) found.integer[id] = { start: -1, end: -1, weight: 1 };
  const loops = loopsOf(instructions);
  const around: Loop[] = [];
  instructions.forEach((instruction, at) => {
    if (instruction.op === 'loop') around.push(loops.get(at) as Loop);
    for (const { kind, id } of registersOf(instruction)) {
      found[kind][id] ??= { start: at, end: at, weight: 0 };
      const interval = found[kind][id] as Interval;
      // What a loop uses and was there before it is used by its next round too.
      const outermost = around.find(({ start }) => start > interval.start);
      interval.end = Math.max(interval.end, outermost?.end ?? at, at);
      interval.weight += 10 ** around.length;
      const inner = around.at(-1);
      if (inner?.isInner) interval.loop = inner.name;
    }
    if (instruction.op === 'again') around.pop();
  });
  return found;
}

function loopsOf(instructions: readonly Instruction[]): Map<number, Loop> {
  const loops = new Map<number, Loop>();
  const around: Loop[] = [];
  instructions.forEach(({ op, name }, at) => {
    if (op === 'loop') {
      const loop = { name: name as string, start: at, end: at, isInner: true };
      for (const outer of around) outer.isInner = false;
      loops.set(at, loop);
      around.push(loop);
    } else if (op === 'again') (around.pop() as Loop).end = at;
  });
  return loops;
}

function scan(intervals: readonly Interval[], count: number, what: string): { places: number[]; spilled: number } {
  const places = new Array<number>(intervals.length).fill(0);
  // A value that was given away has none.
  const order = [...intervals.keys()]
    .filter((id) => intervals[id])
    .sort((a, b) => (intervals[a] as Interval).start - (intervals[b] as Interval).start);
  const free = Array.from({ length: count }, (_, at) => count - 1 - at);
  let active: number[] = [];
  let spilled = 0;
  for (const id of order) {
    const { start, end } = intervals[id] as Interval;
    active = active.filter((other) => {
      // The instruction that last reads a value may write the next one to its place.
      const isOver = (intervals[other] as Interval).end <= start;
      if (isOver) free.push(places[other] as number);
      return !isOver;
    });
    active.push(id);
    if (free.length > 0) places[id] = free.pop() as number;
    else {
      const candidates = active.filter((other) => (intervals[other] as Interval).loop === undefined);
      if (candidates.length === 0) {
        const { loop } = intervals.find(
          (each) => each?.loop !== undefined && each.start <= start && each.end >= end,
        ) as Interval;
        throw new NoRegister(`the loop ${loop} does not fit: it needs more than ${count} ${what} at once`);
      }
      const least = candidates.reduce((a, b) =>
        (intervals[a] as Interval).weight <= (intervals[b] as Interval).weight ? a : b,
      );
      places[id] = places[least] as number;
      places[least] = -1 - spilled++;
      active.splice(active.indexOf(least), 1);
    }
  }
  return { places, spilled };
}
