/* The exchange of `saccade bench links` in C: microseconds of one MPI_Sendrecv with the neighbours, the least of several rounds. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int to = (rank + 1) % size, from = (rank + size - 1) % size;
  int rounds = atoi(argv[1]);
  for (int i = 2; i + 1 < argc; i += 2) {
    size_t bytes = (size_t)atol(argv[i]);
    int count = atoi(argv[i + 1]);
    char *a = malloc(bytes), *b = malloc(bytes);
    memset(a, 1, bytes);
    memset(b, 1, bytes);
    double least = 1e30;
    for (int round = 0; round < rounds; round++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double start = MPI_Wtime();
      for (int each = 0; each < count; each++) {
        MPI_Sendrecv(a, (int)bytes, MPI_BYTE, to, 5, b, (int)bytes, MPI_BYTE, from, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        char *swap = a;
        a = b;
        b = swap;
      }
      double seconds = (MPI_Wtime() - start) / count;
      if (seconds < least) least = seconds;
    }
    if (rank == 0) printf("%.3f\n", least * 1e6);
    free(a);
    free(b);
  }
  MPI_Finalize();
  return 0;
}
