/** What sizes of attention's kernels must be, and what kernels of such sizes take of a device. */
import * as valibot from 'valibot';
import { type EntrySchema, fields, type Needs, whole } from '../../sizes/schema';
import { type AttentionSizes, leastTiledBytes, type RowsSizes, type Sizes, type TiledSizes } from './sizes';

/** Outputs of the largest head. */
const WIDEST = 256;

const tiled = fields<TiledSizes>(
  {
    queries: whole('16 or a multiple of 32 up to 256', (x) => x === 16 || (x % 32 === 0 && x <= 256)),
    keys: whole('a multiple of 4 up to 256', (x) => x % 4 === 0 && x <= 256),
    columns: whole('a whole number up to 64', (x) => x <= 64),
    rows: whole('4 or 8', (x) => x === 4 || x === 8),
    depth: whole('a multiple of 4 up to 256', (x) => x % 4 === 0 && x <= 256),
    values: whole('a whole number up to 256', (x) => x <= 256),
  },
  ({ keys, columns }) => keys % (4 * columns) === 0 || 'keys that are a multiple of 4 columns',
  ({ keys, values }) => keys % values === 0 || 'values that divide keys',
);

const rows = fields<RowsSizes>(
  {
    lanes: whole('a whole number up to 32', (x) => x <= 32),
    rows: whole('a whole number up to 32', (x) => x <= 32),
    keys: whole('a whole number up to 32', (x) => x <= 32),
    shares: valibot.boolean('true or false'),
  },
  (sizes) => sizes.lanes * sizes.rows <= 32 || 'at most 32 queries, which are lanes times rows',
  ({ lanes, shares }) => !shares || lanes % 4 === 0 || 'lanes that are a multiple of 4, as they share',
);

const attention = valibot.pipe(
  valibot.array(
    fields<{ tiled?: TiledSizes; rows?: RowsSizes; below?: number }>(
      {
        tiled: valibot.exactOptional(tiled),
        rows: valibot.exactOptional(rows),
        below: valibot.exactOptional(whole('a whole number', () => true)),
      },
      (kernel) => (kernel.tiled === undefined) !== (kernel.rows === undefined) || 'either tiled or rows',
    ),
    'a list of kernels',
  ),
  valibot.check(
    (kernels) =>
      kernels.length > 0 && kernels.every(({ below }, at) => (below === undefined) === (at === kernels.length - 1)),
    'a list of kernels of which all but the last have `below`',
  ),
) as unknown as valibot.GenericSchema<unknown, readonly AttentionSizes[]>;

/** What the entries of attention must be. */
export const SCHEMAS: { readonly [Name in keyof Sizes]: EntrySchema<Sizes[Name]> } = {
  attention: {
    schema: attention,
    needs: (kernels) =>
      kernels.map((kernel, at): Needs => {
        if ('rows' in kernel) {
          const { lanes, shares } = kernel.rows;
          return { path: `.${at}.rows`, invocations: lanes, ...(shares && { subgroup: lanes }) };
        }
        const { queries, rows, columns } = kernel.tiled;
        return {
          path: `.${at}.tiled`,
          invocations: (queries / rows) * columns,
          bytes: leastTiledBytes(kernel.tiled, WIDEST),
        };
      }),
  },
  workgroups: { schema: whole('a whole number up to 65536', (x) => x <= 65536), needs: () => [] },
};
