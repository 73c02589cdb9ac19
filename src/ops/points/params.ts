import { struct } from '../../runtime/cpu/struct';

export const FarthestParams = struct({
  /** Points of a cloud, and how many of them are taken. */
  rows: 'i32',
  groups: 'i32',
  start: 'i32',
  points: 'tensor',
  out: 'tensor',
  /** Working memory for each cloud: [3][rows] coordinates, and [rows] f64 distances to the nearest taken so far; rows are even. */
  planes: 'usize',
  distances: 'usize',
});

export const NearestParams = struct({
  rows: 'i32',
  /** Centres of a cloud, and of all clouds that a task takes. */
  groups: 'i32',
  centersOfTask: 'i32',
  centersOfAll: 'i32',
  size: 'i32',
  points: 'tensor',
  centers: 'tensor',
  out: 'tensor',
  /** Working memory: coordinates as above; for each task the heap of the nearest, f64 distances and i32 indices. */
  planes: 'usize',
  heaps: 'usize',
});
