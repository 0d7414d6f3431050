using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Stored entries have 100 bytes each.</summary>
public sealed class EntrySizesTests
{
    private const int Stored = 100;

    private readonly EntrySizes _sizes = new(static _ => Stored);

    [Fact]
    public void Sizes_wrap_around_grow_and_sum_up()
    {
        var sizes = new EntrySizes(static _ => -1);
        var first = 1;
        var next = 1;
        var random = new Random(3);
        for (var round = 0; round < 200; round++)
        {
            for (var i = random.Next(40); i > 0; i--, next++)
            {
                sizes.Add(new LogIndex(next), next);
            }

            first = random.Next(first, next + 1);
            sizes.RemoveThrough(new LogIndex(first - 1));

            Assert.Equal(Enumerable.Range(first, next - first).Sum(value => (long)value), sizes.UncommittedBytes);
            Assert.Equal(-1, sizes.SizeOf(new LogIndex(first - 1)));
            Assert.Equal(-1, sizes.SizeOf(new LogIndex(next)));
            for (var index = first; index < next; index++)
            {
                Assert.Equal(index, sizes.SizeOf(new LogIndex(index)));
            }
        }
    }

    [Fact]
    public void Uncommitted_entries_have_room_up_to_the_bound_and_one_in_any_case()
    {
        Assert.True(_sizes.HasRoom(5_000, maxBytes: 1_000));
        _sizes.Add(new LogIndex(1), 400);

        Assert.True(_sizes.HasRoom(600, maxBytes: 1_000));
        Assert.False(_sizes.HasRoom(601, maxBytes: 1_000));
    }

    [Fact]
    public void Tail_of_earlier_leaders_counts_until_the_bound_is_passed()
    {
        _sizes.AddTail(new LogIndex(5), new LogIndex(9), maxBytes: 1_000);
        Assert.Equal(4 * Stored, _sizes.UncommittedBytes);

        _sizes.Clear();
        _sizes.AddTail(LogIndex.None, new LogIndex(5_000), maxBytes: 1_000);
        Assert.Equal(11 * Stored, _sizes.UncommittedBytes);

        _sizes.Add(new LogIndex(5_001), 7);
        Assert.Equal(7, _sizes.SizeOf(new LogIndex(5_001)));
    }

    [Theory]
    [InlineData(8, 20, 350, 3, 300)]
    [InlineData(8, 20, 300, 3, 300)]
    [InlineData(8, 20, 50, 1, 100)]
    [InlineData(19, 20, 350, 2, 200)]
    [InlineData(21, 20, 350, 0, 0)]
    public void Message_holds_as_many_entries_as_fit_and_at_least_one(
        int first, int last, int maxBytes, int count, int sizeBytes)
    {
        Assert.Equal(count, _sizes.CountFitting(new LogIndex(first), new LogIndex(last), maxBytes, out var bytes));
        Assert.Equal(sizeBytes, bytes);
    }
}
