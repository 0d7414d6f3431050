using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class SettledOffsetsTests
{
    private const int Most = 60;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_set_is_what_its_offsets_one_by_one_are(int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < 200; round++)
        {
            var floor = random.Next(5);
            var set = new SettledOffsets(floor);
            var model = new HashSet<long>(Enumerable.Range(0, floor).Select(static each => (long)each));
            for (var step = 0; step < 30; step++)
            {
                var first = random.Next(Most);
                var range = new OffsetRange(first, first + random.Next(1, random.Next(2, 9)));
                var ranges = set.CountWith(range);
                var added = Enumerable.Range((int)range.First, (int)range.Count).Count(each => model.Add(each));
                Assert.Equal(added, set.Add(range));
                Assert.Equal(ranges, set.Ranges.Count);
                Check(set, model);
            }
        }
    }

    private static void Check(SettledOffsets set, HashSet<long> model)
    {
        var offsets = Enumerable.Range(0, Most + 10).Select(static each => (long)each).ToArray();
        Assert.Equal(offsets.First(each => !model.Contains(each)), set.Floor);
        Assert.Equal(model.Count == 0 ? 0 : model.Max() + 1, set.End);
        foreach (var offset in offsets)
        {
            Assert.Equal(model.Contains(offset), set.Contains(offset));
            Assert.Equal(offsets.Count(each => each < offset && !model.Contains(each)), set.CountMissing(offset));
        }

        foreach (var from in offsets[..Most])
        {
            Assert.Equal(offsets.First(each => each >= from && !model.Contains(each)), set.FirstMissing(from));
            Assert.Equal(
                offsets.Where(each => each >= from && model.Contains(each)).DefaultIfEmpty(long.MaxValue).First(),
                set.FirstIn(from));
        }

        var at = set.Floor;
        foreach (var range in set.Ranges)
        {
            Assert.True(range.First > at && range.End > range.First, "ranges are sorted, and do not touch");
            at = range.End;
        }
    }
}
