namespace Broker.ServiceDefaults.Prometheus;

/// <summary>
/// Numbers that many threads add to: one set of cells per processor (at most 8), each on cache lines of its own, so
/// that threads do not wait for each other. A reader adds the sets up; a measurement that runs meanwhile may be in or
/// not.
/// </summary>
internal sealed class Stripes
{
    private const int MaxStripes = 8;
    private const int CellsPerCacheLine = 8;

    private static readonly int Mask = (int)Math.Min(
        MaxStripes, System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Environment.ProcessorCount)) - 1;

    private readonly int _width;
    private readonly long[] _cells;

    public Stripes(int cells)
    {
        _width = (cells + CellsPerCacheLine - 1) / CellsPerCacheLine * CellsPerCacheLine;
        _cells = new long[_width * (Mask + 1)];
    }

    public void Add(int cell, long value) => Interlocked.Add(ref At(cell), value);

    /// <summary>Adds to a cell that holds a double.</summary>
    public void Add(int cell, double value)
    {
        ref var place = ref At(cell);
        var seen = Volatile.Read(ref place);
        while (true)
        {
            var next = BitConverter.DoubleToInt64Bits(BitConverter.Int64BitsToDouble(seen) + value);
            var found = Interlocked.CompareExchange(ref place, next, seen);
            if (found == seen)
            {
                return;
            }

            seen = found;
        }
    }

    public long Sum(int cell)
    {
        var sum = 0L;
        for (var i = cell; i < _cells.Length; i += _width)
        {
            sum += Volatile.Read(ref _cells[i]);
        }

        return sum;
    }

    public double SumOfDoubles(int cell)
    {
        var sum = 0.0;
        for (var i = cell; i < _cells.Length; i += _width)
        {
            sum += BitConverter.Int64BitsToDouble(Volatile.Read(ref _cells[i]));
        }

        return sum;
    }

    private ref long At(int cell) => ref _cells[((Thread.GetCurrentProcessorId() & Mask) * _width) + cell];
}
