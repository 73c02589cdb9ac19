/** What the interpreters of programs have in common (map/program.as.ts, attention/score/program.as.ts), loaded with the first program that runs. */
export { operate } from '../../runtime/wasm/assembly/operations.generated.as';
