using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// The batches of one topic from some offset on, in offset order, in chunks that are never moved once full, so that a
/// topic with one batch is small and one with many is not copied. One thread appends, any number read, without a lock.
/// <para>
/// Why that is right (.NET memory model, docs/design/specs/Memory-model.md): an appended slot is written first, a chunk
/// or a directory that had to grow is stored next, and <see cref="_count"/> is written last, with release semantics. A
/// reader reads the count first, with acquire semantics, so it sees every store that came before: the slots below that
/// count, and a directory and chunks that hold them (or newer ones, which hold them too). Slots below a published count
/// are never written again. Everything that readers may know follows from the count alone, so there is no second field
/// to be torn from it.
/// </para>
/// </summary>
/// <param name="startOffset">The offset of the first batch that will be appended.</param>
/// <param name="startTimestampUnixMs">The time of the batch before it; 0: there is none.</param>
internal sealed class BatchIndex(long startOffset, long startTimestampUnixMs)
{
    private const int FirstChunkBatches = 2;
    private const int ChunkBits = 10;
    private const int ChunkBatches = 1 << ChunkBits;

    private BatchLocation[][] _chunks = [];
    private int _count;
    private long _sizeBytes;

    /// <summary>The first offset that a batch here may hold; what lies before it is looked up elsewhere.</summary>
    public long StartOffset { get; } = startOffset;

    /// <summary>Batches that a reader may ask for.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>The offset that the next record will get.</summary>
    public long NextOffset => Count is > 0 and var count ? Slot(count - 1).EndOffset : StartOffset;

    /// <summary>Time of the last batch, here or before; 0: there is none.</summary>
    public long LastTimestampUnixMs =>
        Count is > 0 and var count ? Slot(count - 1).TimestampUnixMs : startTimestampUnixMs;

    /// <summary>Encoded bytes of all batches here, as any thread may ask.</summary>
    public long SizeBytes => Volatile.Read(ref _sizeBytes);

    public BatchLocation this[int ordinal]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)ordinal, (uint)Count, nameof(ordinal));
            return Slot(ordinal);
        }
    }

    /// <summary>
    /// For the one writer: reads what <see cref="Append"/> will read and write, so that it is at hand then; the number
    /// means nothing.
    /// </summary>
    public long Touch()
    {
        var (number, place) = (_count >> ChunkBits, _count & (ChunkBatches - 1));
        var chunk = number < _chunks.Length ? _chunks[number] : null;
        return NextOffset + (place < chunk?.Length ? chunk[place].Length : 0);
    }

    /// <summary>For the one writer.</summary>
    public void Append(in BatchLocation batch)
    {
        var ordinal = _count;
        Invariant.Check(ordinal < int.MaxValue, "a topic has fewer than 2^31 batches in memory");
        Invariant.Check(
            batch.BaseOffset == (ordinal == 0 ? StartOffset : Slot(ordinal - 1).EndOffset),
            "a topic's offsets have no gaps");
        ChunkFor(ordinal)[ordinal & (ChunkBatches - 1)] = batch;
        Volatile.Write(ref _sizeBytes, _sizeBytes + batch.Length);
        Volatile.Write(ref _count, ordinal + 1);
    }

    /// <summary>The ordinal of the batch that holds an offset; -1 when no batch here does.</summary>
    public int Find(long offset)
    {
        var high = Count - 1;
        if (high < 0 || offset < StartOffset || offset >= Slot(high).EndOffset)
        {
            return -1;
        }

        // Readers are mostly at the tail: look at the last batch before searching.
        if (offset >= Slot(high).BaseOffset)
        {
            return high;
        }

        var low = 0;
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            if (Slot(middle).EndOffset <= offset)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>The ordinal of the first batch of that entry or a later one; the count when there is none.</summary>
    public int FindEntry(LogIndex index)
    {
        var low = 0;
        var high = Count;
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            if (Slot(middle).LogIndex < index)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>The ordinal of the first batch of that time or a later one; the count when there is none.</summary>
    public int FindTime(long timestampUnixMs)
    {
        var low = 0;
        var high = Count;
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            if (Slot(middle).TimestampUnixMs < timestampUnixMs)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>
    /// A new index without the batches that end at or before an offset. For the one writer; readers keep the old one.
    /// </summary>
    public BatchIndex From(long offset)
    {
        var ordinal = offset >= NextOffset ? _count : Math.Max(0, Find(offset));
        var rest = new BatchIndex(
            ordinal == _count ? NextOffset : Slot(ordinal).BaseOffset, LastTimestampUnixMs);
        for (; ordinal < _count; ordinal++)
        {
            rest.Append(Slot(ordinal));
        }

        return rest;
    }

    private ref readonly BatchLocation Slot(int ordinal) =>
        ref Volatile.Read(ref _chunks)[ordinal >> ChunkBits][ordinal & (ChunkBatches - 1)];

    private BatchLocation[] ChunkFor(int ordinal)
    {
        var number = ordinal >> ChunkBits;
        if (number == _chunks.Length)
        {
            // A grown directory is a new array; readers keep the old one, which holds all that they may ask for.
            var grown = new BatchLocation[Math.Max(1, _chunks.Length * 2)][];
            _chunks.CopyTo(grown, 0);
            Volatile.Write(ref _chunks, grown);
        }

        var chunk = _chunks[number] ?? new BatchLocation[number == 0 ? FirstChunkBatches : ChunkBatches];
        var position = ordinal & (ChunkBatches - 1);
        if (position == chunk.Length)
        {
            Array.Resize(ref chunk, Math.Min(chunk.Length * 2, ChunkBatches));
        }

        if (!ReferenceEquals(_chunks[number], chunk))
        {
            Volatile.Write(ref _chunks[number], chunk);
        }

        return chunk;
    }
}
