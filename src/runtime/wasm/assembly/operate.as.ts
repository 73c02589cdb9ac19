/** The operations of programs as interpreters call them: a module of their own, which a thread puts into its table before a program runs. */

/** The place of `operate` in the table that modules share. */
const OPERATE: u32 = 0;

/** `operation` of a, b and c, as many as it takes, to out: bytes from a row to the next end in r, from a vector in l. */
@inline
export function operate(
  operation: i32, rows: i32, vectors: i32, out: usize, or: usize, ol: usize,
  a: usize, ar: usize, al: usize, b: usize, br: usize, bl: usize, c: usize, cr: usize, cl: usize,
): void {
  call_indirect<void>(OPERATE, operation, rows, vectors, out, or, ol, a, ar, al, b, br, bl, c, cr, cl);
}
