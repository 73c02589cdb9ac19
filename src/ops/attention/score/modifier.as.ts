/** Score modifiers over what attention computes: a tile of 24 queries against any number of keys. */
import { keyIn, queryIn } from '../blocks.as';
import { Problem } from '../params.generated.as';
import { PANEL, TILE } from '../../../runtime/cpu/params.generated.as';
import { beginTile, Block, PROGRAM_SCRATCH, runProgram } from './program.as';
import { CHUNK } from '../../../expressions/params.generated.as';

// Working memory of one program over one tile.
const QUERIES: usize = 64; // [24] i32, behind the Block
const PROGRAM: usize = QUERIES + TILE * 4;
export const MODIFIER_BYTES: usize = (PROGRAM + PROGRAM_SCRATCH + 15) & ~15;

/** Makes `program` ready for the tile of queries whose first slot is `first`; `modifier` is working memory. */
export function openModifier(
  p: Problem,
  program: usize,
  tables: usize,
  batch: i32,
  head: i32,
  first: i32,
  modifier: usize,
): void {
  const block = changetype<Block>(modifier);
  block.queries = modifier + QUERIES;
  block.batch = batch;
  block.head = head;
  block.tables = tables;
  block.scratch = modifier + PROGRAM;
  const slots = p.queries != 0 ? p.tiles * TILE : p.n;
  for (let r: i32 = 0; r < TILE; r++) {
    i32.store(modifier + QUERIES + (r << 2), first + r < slots ? queryIn(p, first + r) : -1);
  }
  beginTile(program, block);
}

/** New scores [keys][24] at `out` from those at `scores`, for keys whose numbers are at `keys`. */
export function modify(program: usize, modifier: usize, scores: usize, out: usize, keys: usize, count: i32): void {
  const block = changetype<Block>(modifier);
  for (let j: i32 = 0; j < count; j += CHUNK) {
    block.scores = scores + <usize>j * (TILE * 4);
    block.out = out + <usize>j * (TILE * 4);
    block.keys = keys + (<usize>j << 2);
    block.rows = min(CHUNK, count - j);
    runProgram(program, block);
  }
}

/** Writes the keys in the slots of some panels to `keys`; returns where the next ones go. */
export function writeKeys(p: Problem, firstPanel: i32, pastPanel: i32, keys: usize): usize {
  for (let slot = firstPanel * PANEL; slot < pastPanel * PANEL; slot++, keys += 4) i32.store(keys, keyIn(p, slot));
  return keys;
}
