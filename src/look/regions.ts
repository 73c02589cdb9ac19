/** What a model of pictures and words looked at to answer a question, first and once more, as pictures. */
import type { Picture } from '../pictures';
import { resized } from '../pictures/resize';
import type { Answer, RegionsLook, SecondLook, Viewer } from '../pipelines/regions';
import { cropped, squared } from '../pipelines/regions/views';
import {
  atMost,
  besideEachOther,
  type Colour,
  dimmed,
  enlarged,
  framedBox,
  heat,
  magnified,
  mixed,
  repainted,
} from './paint';
import type { Sight } from './sights';

const FRAME: Colour = [0.2, 0.9, 1];

/** The picture with its boxes, what the model is given of it, where it attends to, what the predictor says, and what it sees of the boxes. */
export function regionSights({ config: { side } }: Viewer, picture: Picture, look: RegionsLook): Sight[] {
  const shown = magnified(atMost(squared(picture)));
  const size = shown.width / side;
  const given = enlarged(resized(squared(picture), 2 * side, 2 * side, 'bilinear'), Math.ceil(size / 2));
  const over = (shares: ArrayLike<number>) =>
    repainted(shown, (x, y, was) => mixed(was, heat(shares[placeAt(x, y, size, side)] as number), 0.65));
  const most = Math.max(...look.attention);
  const boxes = look.boxes.reduce(
    (drawn, [x0, y0, x1, y1]) =>
      framedBox(
        drawn,
        { left: x0 * size, top: y0 * size, width: (x1 - x0) * size, height: (y1 - y0) * size },
        FRAME,
        4,
      ),
    shown,
  );
  const probabilities = look.map?.map((logit) => 1 / (1 + Math.exp(-logit)));
  return [
    {
      name: 'boxes',
      title: 'Regions that were found',
      note: `${regionsOf(look)} in a picture of ${picture.width} x ${picture.height} pixels.`,
      picture: boxes,
    },
    {
      name: 'first-look',
      title: 'The first look',
      note: `All of the picture, at ${2 * side} x ${2 * side} pixels: ${side} x ${side} places.`,
      picture: given,
    },
    {
      name: 'attention',
      title: 'Attention of the first answer',
      note: 'How much the token that gives the answer attends to each place, over the largest; the predictor learned from such maps.',
      picture: over(look.attention.map((each) => each / most)),
    },
    ...(probabilities
      ? [
          {
            name: 'map',
            title: 'The map of the predictor',
            note: 'The probability of each place that the question is about it.',
            picture: over(probabilities),
          },
        ]
      : []),
    ...(look.second.length > 0 ? [secondSight(picture, look.second, side)] : []),
  ];
}

const placeAt = (x: number, y: number, size: number, side: number) =>
  Math.min(side - 1, Math.floor(y / size)) * side + Math.min(side - 1, Math.floor(x / size));

export const regionsOf = ({ boxes }: Pick<RegionsLook, 'boxes'>): string =>
  boxes.length === 0 ? 'No region' : boxes.length === 1 ? 'One region' : `${boxes.length} regions`;

/** The answers of both looks, in words. */
export function answersTold({ before, after, boxes }: RegionsLook): string {
  const [first] = before as [Answer];
  if (!after) {
    const why = boxes.length === 0 ? 'no region was found' : 'there were too many regions';
    return `${first.name}, after one look; ${why} to look at again.`;
  }
  const [second] = after as [Answer];
  return first.label === second.label
    ? `${first.name}, and after a second look still so.`
    : `${first.name} at first, and after a second look ${second.name}.`;
}

function secondSight(picture: Picture, second: readonly SecondLook[], side: number): Sight {
  const views = second.map(({ source, kept }) => {
    const view = magnified(resized(cropped(picture, source), 2 * side, 2 * side, 'bilinear'));
    if (!kept) return view;
    const counts = new Set(kept);
    return repainted(view, (x, y, was) => (counts.has(placeAt(x, y, view.width / side, side)) ? was : dimmed(was)));
  });
  const left = second.some(({ kept }) => kept) ? ' Dark places are left out.' : '';
  return {
    name: 'second-look',
    title: 'The second look',
    note: `What the model is given beside the first look: the box at ${2 * side} x ${2 * side} pixels.${left}`,
    picture: besideEachOther(views),
  };
}
