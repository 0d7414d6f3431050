namespace Broker.Tests.Simulation;

/// <summary>
/// A simulated file's bytes: as programs see them, as they are durable, and the writes between the two.
/// </summary>
internal sealed class SimulatedDeviceInode
{
    private const int SectorBytes = 512;
    private readonly List<(long Offset, byte[] Bytes)> _pending = [];
    private SimulatedDeviceImage _live = new();
    private SimulatedDeviceImage _durable = new();

    public long Length => _live.Length;

    public int Read(long offset, Span<byte> into) => _live.Read(offset, into);

    public void Write(long offset, byte[] bytes)
    {
        _live.Write(offset, bytes);
        _pending.Add((offset, bytes));
    }

    public void SetLength(long length) => _live.SetLength(length);

    public void Sync()
    {
        foreach (var (offset, bytes) in _pending)
        {
            _durable.Write(offset, bytes);
        }

        _durable.SetLength(_live.Length);
        _pending.Clear();
    }

    /// <summary>A failed flush: the kernel marks the pages clean, and no later flush writes them.</summary>
    public void DropPending() => _pending.Clear();

    public void Flip(long offset, byte mask)
    {
        _live.Flip(offset, mask);
        _durable.Flip(offset, mask);
    }

    public SimulatedDeviceInode CloneLive() => new() { _live = _live.Clone(), _durable = _live.Clone() };

    public void Crash(SimulatedDeviceCrash mode, bool hasFragileSectors, Random random)
    {
        if (mode == SimulatedDeviceCrash.KeepUnsynced)
        {
            Sync();
        }
        else if (mode == SimulatedDeviceCrash.Shuffle)
        {
            Shuffle(random);
            if (hasFragileSectors && _pending.Count > 0)
            {
                Scramble(_pending[^1].Offset, random);
            }
        }

        _pending.Clear();
        _live = _durable.Clone();
    }

    private void Shuffle(Random random)
    {
        var length = random.Next(2) == 0 ? _durable.Length : _live.Length;
        var writesOfSector = new Dictionary<long, int>();
        foreach (var (sector, _, _, _) in Pieces())
        {
            writesOfSector[sector] = writesOfSector.GetValueOrDefault(sector) + 1;
        }

        var keptOfSector = writesOfSector.ToDictionary(static pair => pair.Key, pair => random.Next(pair.Value + 1));
        foreach (var (sector, offset, write, range) in Pieces())
        {
            if (keptOfSector[sector]-- > 0)
            {
                _durable.Write(offset, _pending[write].Bytes.AsSpan(range));
            }
        }

        _durable.SetLength(length);
    }

    private void Scramble(long offset, Random random)
    {
        Span<byte> sector = stackalloc byte[SectorBytes];
        random.NextBytes(sector);
        _durable.Write(offset / SectorBytes * SectorBytes, sector);
    }

    /// <summary>The pending writes, cut at the borders of sectors.</summary>
    private IEnumerable<(long Sector, long Offset, int Write, Range Range)> Pieces()
    {
        for (var i = 0; i < _pending.Count; i++)
        {
            var (offset, bytes) = _pending[i];
            for (var at = 0; at < bytes.Length;)
            {
                var sector = (offset + at) / SectorBytes;
                var end = (int)Math.Min(bytes.Length, ((sector + 1) * SectorBytes) - offset);
                yield return (sector, offset + at, i, at..end);
                at = end;
            }
        }
    }
}
