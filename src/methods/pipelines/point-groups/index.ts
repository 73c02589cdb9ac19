/**
 * Groups of a cloud of points, as networks on clouds take them for tokens: centres that are far from each other, and their neighbours.
 * Source: Lu et al. 2025, arXiv 2508.01311, whose code takes nearest neighbours where the paper has balls.
 */
import * as valibot from 'valibot';
import { checkFloat32 } from '../../../ops/float32';
import { farthestPoints, nearestPoints } from '../../../ops/points';
import { defineMethod } from '../../define';
import { whole } from '../../schema';
import { reference } from './reference';

const count = (description: string) =>
  valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1), valibot.description(description));

export const pointGroups = defineMethod({
  name: 'point-groups',
  family: 'pipelines',
  summary: 'points of a cloud that are far from each other, and the nearest neighbours of each',
  paper: '2508.01311',
  inputs: { points: 'b n 3' },
  outputs: { centers: 'b groups', neighbors: 'b groups size' },
  params: valibot.strictObject({
    groups: count('centres of a cloud, at most its points'),
    size: count('points of a group, the centre first'),
    start: whole('index of the first centre', { least: 0, preset: 0 }),
  }),
  gradient: false,

  reference,

  forward({ points }, { groups, size, start }, control) {
    checkFloat32(pointGroups.name, { points }, {});
    return points.runtime.scope(() => {
      const centers = farthestPoints(points, groups, { ...control, start });
      return { centers, neighbors: nearestPoints(points, centers, size, control) };
    });
  },

  cost({ b, n }, { groups, size }) {
    return { flops: 16 * b * n * groups, bytes: 4 * b * (3 * n + groups * (1 + size)), state: 0 };
  },

  variants: ({ n }) => [{ groups: Math.max(1, Math.ceil(n / 16)), size: Math.min(n, 16) }],
  page: () => import('./page'),
});
