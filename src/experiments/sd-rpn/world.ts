/** A world of attention: objects on a grid of tokens, a question about one of them, and what a model would attend to, noise and sinks included. */
import { normal, uniformGenerator } from '../../tensor/random';

export const [SIDE, WIDTH] = [24, 32];
const OBJECTS = 8;
const PLACES = SIDE ** 2;
/** Places of an object along an axis. */
const [LEAST, MOST] = [3, 7];
/** How many tokens of an object are attended to, and how much at least. */
const [ACTIVE, WEAKEST] = [0.5, 0.3];
/** The mean of what other tokens get, exponentially distributed. */
const BACKGROUND = 0.05;
/** Sinks: how many, what they get, and by what their features are larger. */
const [SINKS, SINK_LEAST, SINK_MOST, SINK_NORM] = [3, 2, 5, 10];

type PlaceBox = readonly [x0: number, y0: number, x1: number, y1: number];

/** Pictures of the world, each with a question. */
export interface Pictures {
  readonly count: number;
  /** [count, 576, 32], and the question's object [count, 32]. */
  readonly features: Float32Array;
  readonly queries: Float32Array;
  /** [count, 576] each: what a model attends to, and 1 at sinks, whose features are longer. */
  readonly attention: Float32Array;
  readonly sinks: Float32Array;
  /** The box of the object that is asked for. */
  readonly boxes: readonly PlaceBox[];
}

/** Draws pictures of objects whose embeddings a seed fixes; `noise` is the standard deviation of what is added to them, whose numbers have 1. */
export function world(seed: number, noise: number): (count: number, pictures: number) => Pictures {
  const objects = normal(OBJECTS * WIDTH, seed);
  return (count, pictures) => {
    const random = uniformGenerator(pictures);
    const below = (most: number) => Math.floor(most * random());
    const features = normal(count * PLACES * WIDTH, pictures + 2 ** 40).map((each) => noise * each);
    const queries = new Float32Array(count * WIDTH);
    const attention = Float32Array.from({ length: count * PLACES }, () => -BACKGROUND * Math.log(1 - random()));
    const sinks = new Float32Array(count * PLACES);
    const boxes = Array.from({ length: count }, (_, picture) => {
      const asked = below(OBJECTS);
      queries.set(objects.subarray(asked * WIDTH, (asked + 1) * WIDTH), picture * WIDTH);
      const placed = place(below);
      for (const [object, [x0, y0, x1, y1]] of placed.entries())
        for (let y = y0; y < y1; y++)
          for (let x = x0; x < x1; x++) {
            const at = picture * PLACES + y * SIDE + x;
            for (let c = 0; c < WIDTH; c++) features[at * WIDTH + c]! += objects[object * WIDTH + c]!;
            if (object === asked && random() < ACTIVE) attention[at]! += WEAKEST + (1 - WEAKEST) * random();
          }
      for (let sink = 0; sink < SINKS; sink++) {
        const at = picture * PLACES + below(PLACES);
        for (let c = 0; c < WIDTH; c++) features[at * WIDTH + c]! *= SINK_NORM;
        attention[at]! += SINK_LEAST + (SINK_MOST - SINK_LEAST) * random();
        sinks[at] = 1;
      }
      return placed[asked] as PlaceBox;
    });
    return { count, features, queries, attention, sinks, boxes };
  };
}

/** Boxes of all objects, none on another. */
function place(below: (most: number) => number): PlaceBox[] {
  const boxes: PlaceBox[] = [];
  while (boxes.length < OBJECTS) {
    const [width, height] = [LEAST + below(MOST - LEAST + 1), LEAST + below(MOST - LEAST + 1)];
    const [x, y] = [below(SIDE - width + 1), below(SIDE - height + 1)];
    const box = [x, y, x + width, y + height] as const;
    if (boxes.every((other) => areApart(box, other))) boxes.push(box);
  }
  return boxes;
}

const areApart = (a: PlaceBox, b: PlaceBox) => a[0] >= b[2] || b[0] >= a[2] || a[1] >= b[3] || b[1] >= a[3];
