import { describe, expect, test } from 'vitest';
import { writeNpy } from '../../io';
import { hostTensor } from '../../tensor/host';
import { DEFECTS, middleOf, spread, withDefect } from './defects';
import { MOST_POINTS } from './geometry';
import { readGeometry } from './read';
import { sampleMesh, someOf } from './sample';
import { SHAPES, shapeMesh } from './shapes';
import { colourOf, drawCloud, writePly } from './write';

const text = (...lines: readonly string[]) => new TextEncoder().encode(`${lines.join('\n')}\n`);
/** A header and numbers after it. */
function file(header: string, bytes: number, write: (view: DataView, from: number) => void): Uint8Array {
  const start = new TextEncoder().encode(header);
  const whole = new Uint8Array(start.length + bytes);
  whole.set(start);
  write(new DataView(whole.buffer), start.length);
  return whole;
}

const CORNERS = [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0.5];
const SQUARE = { points: Float32Array.from(CORNERS), faces: Uint32Array.of(0, 1, 2, 0, 2, 3) };
const plyHeader = (format: string, faces = 1) =>
  [
    ...['ply', `format ${format} 1.0`, 'comment made by hand', 'element vertex 4'],
    ...['property float x', 'property double y', 'property float z', 'property uchar label'],
    ...[`element face ${faces}`, 'property list uchar int vertex_indices', 'end_header', ''],
  ].join('\n');

/** The square as a binary .ply. */
const binaryPly = (format: string, isLittle: boolean) =>
  file(plyHeader(format), 4 * 17 + 17, (view, from) => {
    for (let at = 0; at < 4; at++) {
      const place = from + 17 * at;
      view.setFloat32(place, CORNERS[3 * at] as number, isLittle);
      view.setFloat64(place + 4, CORNERS[3 * at + 1] as number, isLittle);
      view.setFloat32(place + 12, CORNERS[3 * at + 2] as number, isLittle);
      view.setUint8(place + 16, at % 2);
    }
    view.setUint8(from + 68, 4);
    for (let at = 0; at < 4; at++) view.setInt32(from + 69 + 4 * at, at, isLittle);
  });

const pcdHeader = (data: string, points = 4) =>
  `# .PCD v0.7\nVERSION 0.7\nFIELDS x y z label\nSIZE 4 4 4 1\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH ${points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS ${points}\nDATA ${data}\n`;
const binaryPcd = file(pcdHeader('binary'), 4 * 13, (view, from) => {
  CORNERS.forEach((value, at) => {
    view.setFloat32(from + 13 * Math.floor(at / 3) + 4 * (at % 3), value, true);
  });
  for (let at = 0; at < 4; at++) view.setUint8(from + 13 * at + 12, at % 2);
});
/** The same by fields, as LZF: literals, and zeros that repeat what came before. */
const compressedPcd = (() => {
  const plain: number[] = [];
  for (let axis = 0; axis < 3; axis++)
    for (let at = 0; at < 4; at++)
      plain.push(...new Uint8Array(Float32Array.of(CORNERS[3 * at + axis] as number).buffer));
  plain.push(0, 1, 0, 1);
  // x and y begin with four zeros, a literal; z with twelve: one, and a copy of eleven from a byte before.
  const packed = [31, ...plain.slice(0, 32), 0, 0, 7 << 5, 2, 0, 7, ...plain.slice(44, 52)];
  return file(pcdHeader('binary_compressed'), 8 + packed.length, (view, from) => {
    view.setUint32(from, packed.length, true);
    view.setUint32(from + 4, plain.length, true);
    packed.forEach((byte, at) => {
      view.setUint8(from + 8 + at, byte);
    });
  });
})();

const stlText = text(
  'solid square',
  ...[
    [0, 1, 2],
    [0, 2, 3],
  ].flatMap((corners) => [
    'facet normal 0 0 1',
    'outer loop',
    ...corners.map((corner) => `vertex ${CORNERS.slice(3 * corner, 3 * corner + 3).join(' ')}`),
    'endloop',
    'endfacet',
  ]),
  'endsolid',
);
const stlBinary = file('solid, although it is binary'.padEnd(80), 4 + 100, (view, from) => {
  view.setUint32(from, 2, true);
  [0, 1, 2, 0, 2, 3].forEach((corner, at) => {
    for (let axis = 0; axis < 3; axis++)
      view.setFloat32(
        from + 4 + 50 * Math.floor(at / 3) + 12 + 12 * (at % 3) + 4 * axis,
        CORNERS[3 * corner + axis] as number,
        true,
      );
  });
});

/** A chunk of a .3ds, of numbers and of other chunks. */
const chunk = (kind: number, ...bytes: readonly (ArrayLike<number> | Uint8Array)[]) => {
  const body = bytes.flatMap((each) => [...Array.from(each)]);
  return [
    ...new Uint8Array(Uint16Array.of(kind).buffer),
    ...new Uint8Array(Uint32Array.of(6 + body.length).buffer),
    ...body,
  ];
};
const bytesOf = (values: Uint16Array | Float32Array) => new Uint8Array(values.buffer);
const object3ds = (name: string, faces: readonly number[]) =>
  chunk(
    0x4000,
    new TextEncoder().encode(`${name}\0`),
    chunk(
      0x4100,
      chunk(0x4110, bytesOf(Uint16Array.of(4)), bytesOf(Float32Array.from(CORNERS))),
      chunk(0x4120, bytesOf(Uint16Array.of(faces.length / 4, ...faces)), chunk(0x4150, [1, 2, 3, 4])),
    ),
  );
/** Of objects, after a chunk of the version. */
const file3ds = (...objects: readonly number[][]) =>
  Uint8Array.from(chunk(0x4d4d, chunk(2, [3, 0, 0, 0]), chunk(0x3d3d, chunk(0xafff, [1]), ...objects)));
const square3ds = object3ds('square', [0, 1, 2, 7, 0, 2, 3, 7]);

const points = (count: number) => Array.from({ length: count }, (_, at) => CORNERS.slice(3 * at, 3 * at + 3));

describe('readGeometry', () => {
  const labels = Uint8Array.of(0, 1, 0, 1);
  const plyText = text(
    plyHeader('ascii').trim(),
    ...points(4).map((point, at) => `${point.join(' ')} ${at % 2}`),
    '4 0 1 2 3',
  );
  const obj = text('# square', ...points(4).map((point) => `v ${point.join(' ')}`), 'vn 0 0 1', 'f 1/1/1 2//1 -2 -1');
  test.each<[string, Uint8Array, object]>([
    ['a.ply', plyText, { ...SQUARE, labels }],
    ['A.PLY', binaryPly('binary_little_endian', true), { ...SQUARE, labels }],
    ['b.ply', binaryPly('binary_big_endian', false), { ...SQUARE, labels }],
    ['a.obj', obj, SQUARE],
    [
      'a.3ds',
      file3ds(square3ds, object3ds('other', [3, 2, 1, 0])),
      { points: Float32Array.of(...CORNERS, ...CORNERS), faces: Uint32Array.of(...SQUARE.faces, 7, 6, 5) },
    ],
    [
      'a.pcd',
      text(pcdHeader('ascii').trim(), ...points(4).map((point, at) => `${point.join(' ')} ${at % 2}`)),
      { points: SQUARE.points, labels },
    ],
    ['b.pcd', binaryPcd, { points: SQUARE.points, labels }],
    ['c.pcd', compressedPcd, { points: SQUARE.points, labels }],
    ['a.xyz', text('# x y z', ...points(4).map((point) => point.join(' '))), { points: SQUARE.points }],
    [
      'a.txt',
      text(...points(4).map((point, at) => `${point.join(', ')}, ${at % 2}`)),
      { points: SQUARE.points, labels },
    ],
    ['a.npy', writeNpy(hostTensor(SQUARE.points, [4, 3])), { points: SQUARE.points }],
  ])('%s', (name, bytes, wanted) => {
    const found = Object.entries(readGeometry(name, bytes)).filter(([, value]) => value !== undefined);
    expect(Object.fromEntries(found)).toEqual(wanted);
  });

  test('each three points of an .stl are a triangle', () => {
    const three = [0, 1, 2, 0, 2, 3].flatMap((corner) => CORNERS.slice(3 * corner, 3 * corner + 3));
    for (const bytes of [stlText, stlBinary])
      expect(readGeometry('a.stl', bytes)).toEqual({
        points: Float32Array.from(three),
        faces: Uint32Array.of(0, 1, 2, 3, 4, 5),
      });
  });

  const pcd = (...changes: readonly (readonly [string, string])[]) =>
    text(changes.reduce((header, [from, to]) => header.replace(from, to), pcdHeader('ascii')).trim(), '0 0 0 0');
  const ply = (...changes: readonly (readonly [string, string])[]) =>
    text(changes.reduce((header, [from, to]) => header.replace(from, to), plyHeader('ascii')).trim(), '0 0 0 0');
  test.each<[string, Uint8Array, string]>([
    ['a.dae', text(''), 'the name must end with one of .ply, .obj'],
    ['constructor', text(''), ".pts, .csv, got 'constructor'"],
    ['e.xyz', text('# nothing'), 'e.xyz has no points'],
    ['n.xyz', text('0 0 nan'), 'n.xyz must have a number in line 1, got "nan"'],
    [
      'i.xyz',
      text('0 0 Infinity'),
      'points of i.xyz must be finite numbers up to 1000000000000000000, got Infinity at point 0',
    ],
    ['r.xyz', text('0 0 0', '0 0'), 'r.xyz must have 3 numbers or more in each line, always as many, got 2 in line 2'],
    [
      'f.obj',
      text('v 0 0 0', 'f 1 2 3'),
      'faces of f.obj must have indices of the 1 vertices before them, got 2 in line 2',
    ],
    ['z.obj', text('v 0 0 0', 'f 0 1 1'), 'got 0 in line 2'],
    ['s.stl', stlBinary.subarray(0, 100), 's.stl is no STL file'],
    ['h.stl', file(''.padEnd(80), 4, (view, from) => view.setUint32(from, 2 ** 31, true)), 'h.stl is no STL file'],
    ['n.3ds', text('MN'), 'n.3ds is no 3DS file: expected the number 19789'],
    ['e.3ds', file3ds(), 'e.3ds has no points'],
    [
      'c.3ds',
      file3ds(square3ds).subarray(0, 80),
      'c.3ds is cut off or broken: a chunk at byte 0 must have from 6 to 80 bytes, got',
    ],
    ['z.3ds', Uint8Array.of(0x4d, 0x4d, 0, 0, 0, 0), 'a chunk at byte 0 must have from 6 to 6 bytes, got 0'],
    [
      'm.3ds',
      file3ds(chunk(0x4000, [0], chunk(0x4100, chunk(0x4110, [255, 255])))),
      'm.3ds is broken: 65535 vertices at byte 48 take 786422 bytes, got 2',
    ],
    [
      'o.3ds',
      file3ds(square3ds, object3ds('other', [0, 1, 4, 0])),
      'faces of o.3ds must have indices of the 4 vertices of their object, got 4 in face 0',
    ],
    ['u.3ds', file3ds(chunk(0x4000, [65, 66])), 'the name of an object at byte 35 has no end'],
    ['h.ply', text('plx'), 'h.ply is no PLY file'],
    [
      'm.ply',
      ply(['element vertex 4', 'element vertex 99999999999']),
      `m.ply must have from 0 to ${MOST_POINTS} elements vertex, got 99999999999`,
    ],
    ['c.ply', ply(['element vertex 4', 'element vertex 9999999']), 'c.ply is cut off: its header tells of'],
    [
      'l.ply',
      ply(['property float x', 'property list float x']),
      'the header of l.ply has a line that means nothing: "property list float x"',
    ],
    [
      'x.ply',
      ply(['property float x', 'property float u']),
      'vertices of x.ply must have the properties x, y and z, got u, y, z, label',
    ],
    [
      'o.ply',
      text(plyHeader('ascii').trim(), ...points(4).map((point) => `${point.join(' ')} 0`), '3 0 1 4'),
      'faces of o.ply must have indices from 0 to 3, got 4 in triangle 0',
    ],
    ['m.pcd', pcd(['POINTS 4', 'POINTS 1e9']), `m.pcd must have from 0 to ${MOST_POINTS} points, got 1000000000`],
    [
      'c.pcd',
      pcd(['POINTS 4', 'POINTS 9999999']),
      'c.pcd is cut off: 9999999 points take 79999992 bytes at least, got 8',
    ],
    [
      't.pcd',
      pcd(['TYPE F F F U', 'TYPE F F F X']),
      'field label of t.pcd must be of a type I, U or F and a size, got X 1, 1 times',
    ],
    ['l.pcd', compressedPcd.subarray(0, compressedPcd.length - 3), 'l.pcd cannot be decompressed: expected 52 bytes'],
    ['s.npy', writeNpy(hostTensor(Float32Array.of(1, 2), [2])), 's.npy must have shape [n, 3], or [n, 4] with labels'],
  ])('refuses %s', (name, bytes, message) => {
    expect(() => readGeometry(name, bytes)).toThrow(message);
  });

  test('rows without properties take no time, however many a .ply declares', () => {
    const header = ['ply', 'format ascii 1.0', ...new Array<string>(2000).fill(`element none ${MOST_POINTS}`)];
    const point = ['element vertex 1', ...['x', 'y', 'z'].map((axis) => `property float ${axis}`), 'end_header'];
    expect(readGeometry('n.ply', text(...header, ...point, '1 2 3')).points).toEqual(Float32Array.of(1, 2, 3));
  }, 5000);

  test('files that are cut off or changed at random are read or refused, and nothing else', () => {
    let read = 0;
    for (const [name, bytes] of [
      ['a.ply', binaryPly('binary_little_endian', true)],
      ['a.pcd', compressedPcd],
      ['a.stl', stlBinary],
      ['a.obj', obj],
      ['a.3ds', file3ds(square3ds)],
    ] as const)
      for (let round = 0; round < 100; round++) {
        const changed = round % 2 ? bytes.slice() : bytes.slice(0, (round * 7919) % bytes.length);
        if (round % 2) changed[(round * 7919) % bytes.length] = (round * 31) % 256;
        try {
          readGeometry(name, changed);
          read++;
        } catch (error) {
          expect((error as Error).message).toContain(name);
        }
      }
    expect(read).toBeGreaterThan(10);
  });
});

test('a mesh is sampled by area, and the same for a seed', () => {
  // A triangle of area 3 beside one of area 1.
  const mesh = {
    points: Float32Array.from([0, 0, 0, 2, 0, 0, 0, 3, 0, -2, 0, 0, 0, -1, 0]),
    faces: Uint32Array.of(0, 1, 2, 0, 3, 4),
  };
  const { points, normals } = sampleMesh(mesh, 4000, 3);
  const right = Array.from({ length: 4000 }, (_, at) => points[3 * at] as number).filter((x) => x > 0).length;
  expect(right / 4000).toBeCloseTo(0.75, 1);
  expect([...normals.subarray(0, 3)]).toEqual([0, 0, 1]);
  expect(sampleMesh(mesh, 4000, 3).points).toEqual(points);
  expect(() => sampleMesh({ points: mesh.points, faces: Uint32Array.of(0, 0, 1) }, 1, 0)).toThrow('must have an area');
  expect([...new Set(someOf(50, 20, 1))]).toHaveLength(20);
  expect([...someOf(3, 20, 1)]).toEqual([0, 1, 2]);
});

test('shapes vary by a seed, with normals outward; defects are where they are marked', () => {
  expect(SHAPES).toHaveLength(14);
  for (const name of SHAPES) {
    const surface = sampleMesh(shapeMesh(name, 1), 600, 2);
    expect(shapeMesh(name, 1).points).not.toEqual(shapeMesh(name, 2).points);
    expect(spread(surface.points)).toBeGreaterThan(0.5);
    for (const defect of DEFECTS) {
      const { points, labels } = withDefect(surface, defect, 5);
      const marked = labels.reduce((sum, each) => sum + each, 0);
      expect([name, defect, marked > 0 && marked < labels.length / 2]).toEqual([name, defect, true]);
      if (defect === 'missing') continue;
      const moved = labels.findIndex(
        (label, at) =>
          label === 0 &&
          points[3 * at] !== surface.points[3 * at] &&
          Math.abs((points[3 * at] as number) - (surface.points[3 * at] as number)) > 0.05,
      );
      expect(moved).toBe(-1);
    }
  }
  // A ball grows by a bump and shrinks by a dent.
  const ball = sampleMesh(shapeMesh('ball', 1), 600, 2);
  const grown = (['bump', 'dent'] as const).map(
    (defect) => spread(withDefect(ball, defect, 5).points) - spread(ball.points),
  );
  expect(grown[0]).toBeGreaterThan(0);
  expect(grown[1]).toBeLessThan(0);
});

test('clouds are written and drawn in the colours of their scores', () => {
  const cloud = { points: SQUARE.points, scores: Float32Array.of(0, 1, 0.5, 9), labels: Uint8Array.of(0, 0, 1, 1) };
  const { points, labels } = readGeometry('a.ply', writePly(cloud, [0, 1]));
  expect([points, labels]).toEqual([cloud.points, cloud.labels]);
  expect(readGeometry('a.ply', writePly({ points: cloud.points })).labels).toBeUndefined();
  expect(colourOf(9)).toEqual(colourOf(1));
  const { width, height, data } = drawCloud(cloud, [0, 1], 20);
  expect([width, height, data.length]).toEqual([40, 20, 2400]);
  expect([...data].some((value) => value < 200)).toBe(true);
  expect(middleOf(SQUARE.points).map((value) => Math.round(8 * value))).toEqual([4, 4, 1]);
});
