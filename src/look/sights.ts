/** What networks on pictures looked at, as pictures: each kind of network has sights of its own. */
import type { CreatedModel } from '../models/define';
import type { biformerNetwork, RoutedControl } from '../models/vision/biformer';
import type { deitNetwork, Glance } from '../models/vision/deit';
import type { Parameters } from '../nn/module';
import { multiply } from '../ops/map';
import { sum } from '../ops/reduce';
import type { Picture } from '../pictures';
import { differentiate } from '../tape';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { formatPercent } from '../text/format';
import { besideEachOther, type Colour, dimmed, framedBox, heat, mixed, repainted } from './paint';

/** A picture for people, with what it shows. */
export interface Sight {
  /** The name of its file, without the ending. */
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly picture: Picture;
}

const CYAN: Colour = [0.2, 0.9, 1];
/** Regions, other than the one in the middle, whose choices are shown, as shares of the extents. */
const QUERIES = [
  [0.5, 0.5],
  [0.2, 0.2],
  [0.2, 0.8],
  [0.8, 0.5],
] as const;

/**
 * How much each pixel of x [1, c, rows, columns] moves the features in the middle of the last stage: the sizes of the gradient of
 * their sum in a random direction, since that of all features may be fixed by a norm.
 */
export async function receptiveField(
  model: CreatedModel<{ readonly x: Tensor }, Readonly<Record<string, Tensor | undefined>>>,
  parameters: Parameters,
  x: Tensor,
): Promise<Sight & { readonly sides: readonly [half: number, most: number] }> {
  const { gradients } = differentiate(
    ({ x }) => {
      const { stage4, stage3, stage2, logits } = model.forward({ x }, parameters);
      const map = (logits?.rank === 4 ? logits : (stage4 ?? stage3 ?? stage2)) as Tensor<'f32'>;
      const [, c, rows, columns] = map.shape as [number, number, number, number];
      const [row, column] = [Math.floor(rows / 2), Math.floor(columns / 2)];
      const centre = map.slice(2, row, row + 1).slice(3, column, column + 1);
      return sum(multiply(centre, x.runtime.tensor(normal(c, 1), [1, c, 1, 1])));
    },
    { x },
  );
  using gradient = gradients.x;
  const [, channels, rows, columns] = x.shape as [number, number, number, number];
  const values = await gradient.read();
  const pixels = rows * columns;
  const sizes = Float32Array.from({ length: pixels }, (_, at) => {
    let size = 0;
    for (let c = 0; c < channels; c++) size += Math.abs(values[c * pixels + at] as number);
    return size;
  });
  const sides = [sideOf(sizes, rows, columns, 0.5), sideOf(sizes, rows, columns, 0.95)] as const;
  const brightest = [...sizes].sort((a, b) => a - b)[Math.floor(0.999 * (pixels - 1))] || 1;
  const blank = { width: columns, height: rows, rgb: new Float32Array(3 * pixels) };
  return {
    name: 'receptive-field',
    title: 'Effective receptive field',
    note: `How much each pixel moves what the network computes in the middle. Half of it lies within ${sides[0]} x ${sides[0]} pixels, 95% within ${sides[1]} x ${sides[1]}, of ${columns} x ${rows}.`,
    picture: repainted(blank, (px, py) => heat(Math.sqrt((sizes[py * columns + px] as number) / brightest))),
    sides,
  };
}

/** The side of the smallest square in the middle that has this share of what is everywhere. */
function sideOf(sizes: Float32Array, rows: number, columns: number, share: number): number {
  const [middle, centre] = [(rows - 1) / 2, (columns - 1) / 2];
  const most = Math.max(rows, columns);
  const rings = new Float64Array(most + 1);
  for (const [at, size] of sizes.entries()) {
    const away = Math.max(Math.abs(Math.floor(at / columns) - middle), Math.abs((at % columns) - centre));
    const side = Math.min(most, Math.ceil(2 * away + 1));
    rings[side] = (rings[side] as number) + size;
  }
  const aim = share * rings.reduce((all, each) => all + each, 0);
  let found = 0;
  for (const [side, ring] of rings.entries()) {
    found += ring;
    if (found >= aim) return side;
  }
  return most;
}

/** Where the class token of a DeiT looked, and which patches were kept. */
export function tokenSights(glances: readonly Glance[], patches: number, shown: Picture): Sight[] {
  const size = shown.width / patches;
  const patchAt = (x: number, y: number) => Math.floor(y / size) * patches + Math.floor(x / size);
  return glances.map(({ layer, tokens, scores, kept }, at): Sight => {
    const isLast = at === glances.length - 1;
    if (!isLast) {
      const isKept = new Set(kept);
      return {
        name: `kept-${layer}`,
        title: `Patches kept before block ${layer}`,
        note: `${kept.length} of ${patches ** 2} patches are left; the others are pruned.`,
        picture: repainted(shown, (x, y, was) => (isKept.has(patchAt(x, y)) ? was : dimmed(was))),
      };
    }
    const score = new Map(tokens.map((token, place) => [token, scores[place] as number]));
    const [least, most] = [Math.min(...score.values()), Math.max(...score.values())];
    return {
      name: 'class-attention',
      title: 'Class attention',
      note: 'What the class token sees in the last block: the attention of its heads, weighed by how much each matters at the patch; dark where it is least, bright where it is most.',
      picture: repainted(shown, (x, y, was) => {
        const own = score.get(patchAt(x, y));
        return own === undefined ? dimmed(was) : mixed(was, heat((own - least) / (most - least || 1)), 0.6);
      }),
    };
  });
}

/** The regions that a block of BiFormer chose. */
interface Routes {
  readonly grid: readonly number[];
  /** [regions, topRegions]. */
  readonly regions: Int32Array;
}

/** The regions that each block of a BiFormer chose for one picture. */
export async function routesOf(
  { forward }: Pick<ReturnType<typeof biformerNetwork>, 'forward'>,
  parameters: Parameters,
  x: Tensor,
): Promise<Routes[]> {
  const found: Promise<Routes>[] = [];
  const control: RoutedControl = {
    onRoutes: (regions, grid) => found.push(regions.read().then((read) => ({ grid, regions: read as Int32Array }))),
  };
  const results = x.runtime.scope(() => forward({ x }, parameters, control));
  for (const each of Object.values(results)) each?.dispose();
  return Promise.all(found);
}

/** The same as pictures: of each number of regions that are chosen, the last block that chooses as many. */
export function routeSights(routes: readonly Routes[], shown: Picture): Sight[] {
  const chosen = ({ regions, grid }: Routes) => regions.length / ((grid[0] as number) * (grid[1] as number));
  const last = new Map(routes.map((each, block) => [chosen(each), { ...each, block }]));
  return [...last].map(([top, { grid, regions, block }]): Sight => {
    const [rows, columns] = grid as [number, number];
    const [high, wide] = [shown.height / rows, shown.width / columns];
    const panels = QUERIES.map(([down, across]) => {
      const [row, column] = [Math.floor(down * rows), Math.floor(across * columns)];
      const query = row * columns + column;
      const seen = new Set(regions.subarray(query * top, (query + 1) * top));
      const regionAt = (x: number, y: number) => Math.floor(y / high) * columns + Math.floor(x / wide);
      const lit = repainted(shown, (x, y, was) => (seen.has(regionAt(x, y)) ? was : dimmed(was)));
      const box = { left: column * wide, top: row * high, width: wide, height: high };
      return framedBox(lit, box, CYAN);
    });
    return {
      name: `regions-${top}`,
      title: `Regions that regions see: ${top} of ${rows * columns}`,
      note: `Block ${block + 1} of those that choose. The places of the framed region attend to those of the bright ones, ${formatPercent(top / (rows * columns))} of the picture.`,
      picture: besideEachOther(panels),
    };
  });
}

/** The classes of all places over the picture, and how much of it each has. */
export function segmentSight(
  classes: ArrayLike<number>,
  [rows, columns]: readonly [number, number],
  colours: (index: number) => Colour,
  shown: Picture,
): Sight {
  return {
    name: 'segments',
    title: 'Classes of places',
    note: 'The likeliest class at each place, over the picture.',
    picture: repainted(shown, (x, y, was) => {
      const at = Math.floor((y * rows) / shown.height) * columns + Math.floor((x * columns) / shown.width);
      return mixed(was, colours(classes[at] as number), 0.6);
    }),
  };
}

export type DeitNetwork = ReturnType<typeof deitNetwork>;
