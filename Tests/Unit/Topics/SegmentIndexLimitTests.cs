using Broker.Domain;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class SegmentIndexLimitTests
{
    /// <summary>
    /// A batch with one record without a value, in a topic with the shortest name: no publish takes less of a segment.
    /// </summary>
    [Fact]
    public void Index_of_the_largest_segment_fits_whatever_is_published()
    {
        var leastBytes = TopicCommands.PublishSizeBytes("a", batchBytes: 2);
        Assert.True(leastBytes >= SegmentIndex.SlotBytes, $"{leastBytes} bytes in the log, and as many in the index");
        Assert.True(
            Limits.SegmentBytes / (long)leastBytes * SegmentIndex.SlotBytes <= Limits.SegmentIndexBytes,
            "the index of a segment full of the least publishes is within its limit");
    }
}
