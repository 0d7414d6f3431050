using Broker.Domain;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class BatchIndexTests
{
    private const int Batches = 5_000;
    private const long Start = 1_000_000;

    [Fact]
    public void Offsets_are_found_in_every_chunk()
    {
        var index = Fill(Batches);
        var offset = Start;
        for (var i = 0; i < Batches; i++)
        {
            for (var record = 0; record < index[i].Count; record++)
            {
                Assert.Equal(i, index.Find(offset++));
            }
        }

        Assert.Equal(offset, index.NextOffset);
        Assert.Equal(-1, index.Find(offset));
        Assert.Equal(-1, index.Find(Start - 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => index[Batches]);
    }

    [Fact]
    public void An_empty_index_knows_where_it_starts()
    {
        var index = new BatchIndex(7, 900);
        Assert.Equal((7L, 7L, 900L, 0), (index.StartOffset, index.NextOffset, index.LastTimestampUnixMs, index.Count));
        Assert.Equal((-1, 0), (index.Find(7), index.FindEntry(new LogIndex(1))));
        Assert.Throws<InvariantException>(() => index.Append(new BatchLocation(8, 1, 0, new LogIndex(1), 0, 0)));
    }

    [Fact]
    public void Entries_are_found_although_one_may_hold_several_batches_or_none()
    {
        var index = Fill(30);
        Assert.Equal([0, 0, 0, 0, 3, 3, 6, 6], Enumerable.Range(0, 8).Select(i => index.FindEntry(new LogIndex(i))));
        Assert.Equal(30, index.FindEntry(new LogIndex(100)));
    }

    [Fact]
    public void What_is_cut_off_at_the_front_leaves_the_rest_as_it_was()
    {
        var index = Fill(Batches);
        for (var first = 0; first <= Batches; first += 499)
        {
            var offset = first == Batches ? index.NextOffset : index[first].BaseOffset;
            var rest = index.From(offset);
            Assert.Equal((offset, index.NextOffset), (rest.StartOffset, rest.NextOffset));
            Assert.Equal(
                Enumerable.Range(first, Batches - first).Select(i => index[i]),
                Enumerable.Range(0, rest.Count).Select(i => rest[i]));
        }

        // An offset within a batch keeps the batch.
        Assert.Equal(index[2], index.From(index[2].BaseOffset + 1)[0]);
        Assert.Equal(index.LastTimestampUnixMs, index.From(index.NextOffset).LastTimestampUnixMs);
    }

    /// <summary>Three batches in every second entry: 3, 5, ... and 1 to 3 records in a batch.</summary>
    private static BatchIndex Fill(int batches)
    {
        var index = new BatchIndex(Start, 0);
        for (var i = 0; i < batches; i++)
        {
            var entry = new LogIndex(((i / 3) * 2) + 3);
            index.Append(new BatchLocation(index.NextOffset, (i % 3) + 1, i, entry, 1_000 + i, 10));
        }

        return index;
    }
}
