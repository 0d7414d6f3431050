using Subscriber.Following;
using Subscriber.Inbox;
using Xunit;

namespace Broker.Tests.Unit.SubscriberService;

/// <summary>What a topic makes of live batches that are lost, doubled and out of order.</summary>
public sealed class TopicProgressTests
{
    private readonly TopicProgress _progress = new(new TopicPlace("orders"), 10);

    [Fact]
    public void The_expected_run_is_handed_over_whole()
    {
        Assert.Equal(["10-13"], Offer(10, 3));
        Assert.Equal(13, _progress.Next);
        Assert.False(_progress.Behind);
    }

    [Fact]
    public void A_run_that_is_known_is_dropped_and_counted()
    {
        var handOver = new List<InboxAppend>();
        Assert.Equal(3, _progress.Offer(Run(7, 3), 1_000_000, handOver));
        Assert.Empty(handOver);
    }

    [Fact]
    public void A_run_that_is_known_in_part_is_cut()
    {
        var handOver = new List<InboxAppend>();
        Assert.Equal(2, _progress.Offer(Run(8, 5), 1_000_000, handOver));
        Assert.Equal((10, 13), (handOver[0].Run.BaseOffset, handOver[0].Run.EndOffset));
        Assert.Equal(10, handOver[0].Run[0].TimestampUnixMs);
    }

    [Fact]
    public void A_run_beyond_a_gap_waits_until_the_gap_is_filled()
    {
        Assert.Empty(Offer(15, 2));
        Assert.Empty(Offer(12, 2));
        Assert.True(_progress.Behind);
        Assert.Equal(["10-12", "12-14"], Offer(10, 2));
        Assert.True(_progress.Behind);
        Assert.Equal(["14-15", "15-17"], Offer(14, 1));
        Assert.False(_progress.Behind);
        Assert.Equal(0, _progress.AheadBytes);
    }

    [Fact]
    public void What_does_not_fit_while_waiting_is_dropped_but_not_forgotten()
    {
        var handOver = new List<InboxAppend>();
        _progress.Offer(Run(15, 2), 1, handOver);
        Assert.Equal(0, _progress.AheadBytes);
        Assert.Equal(["10-15"], Offer(10, 5));
        Assert.True(_progress.Behind);
        Assert.Equal(17, _progress.Target);
    }

    [Fact]
    public void A_log_page_that_overlaps_what_waits_leaves_no_offset_twice()
    {
        Offer(12, 2);
        Assert.Equal(["10-13", "13-14"], Offer(10, 3));
    }

    [Fact]
    public void An_announcement_makes_the_topic_late_without_a_message()
    {
        _progress.Announce(0, 12);
        Assert.True(_progress.Behind);
        Assert.Equal(["10-12"], Offer(10, 2));
        Assert.False(_progress.Behind);
    }

    [Fact]
    public void What_the_brokers_have_trimmed_is_skipped_with_the_position_it_continues()
    {
        var handOver = new List<InboxAppend>();
        _progress.Announce(50, 60);
        _progress.OfferAfterGap(Run(50, 5), handOver);
        Assert.Equal(10, handOver[0].ExpectedOffset);
        Assert.Equal(55, _progress.Next);
    }

    [Fact]
    public void What_is_passed_over_is_handed_over_by_nobody_and_what_waits_behind_it_continues_the_inbox()
    {
        Assert.Empty(Offer(15, 2));
        var handOver = new List<InboxAppend>();
        _progress.PassOver(13, handOver);
        Assert.Empty(handOver);
        Assert.True(_progress.Behind);
        _progress.PassOver(15, handOver);
        var append = Assert.Single(handOver);
        Assert.Equal((10, 15, 17), (append.ExpectedOffset, append.Run.BaseOffset, append.Run.EndOffset));
        Assert.False(_progress.Behind);
        _progress.PassOver(20, handOver);
        _progress.Offer(Run(20, 1), 0, handOver);
        Assert.Equal((17, 20), (handOver[1].ExpectedOffset, handOver[1].Run.BaseOffset));
    }

    [Fact]
    public void Any_order_with_losses_and_doubles_hands_every_offset_over_once()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var progress = new TopicProgress(new TopicPlace("orders"), 0);
            var handOver = new List<InboxAppend>();
            for (var i = 0; i < 300; i++)
            {
                progress.Offer(Run(random.Next(0, 100), random.Next(1, 8)), random.Next(0, 4_000), handOver);
            }

            while (progress.Behind)
            {
                progress.Offer(Run(progress.Next, 5), 0, handOver);
            }

            var offsets = handOver.SelectMany(
                append => Enumerable.Range(0, append.Run.Count).Select(i => append.Run[i].TimestampUnixMs));
            Assert.Equal(Enumerable.Range(0, (int)progress.Next).Select(i => (long)i), offsets);
        }
    }

    private List<string> Offer(long baseOffset, int count)
    {
        var handOver = new List<InboxAppend>();
        _progress.Offer(Run(baseOffset, count), 1_000_000, handOver);
        return handOver.ConvertAll(append => $"{append.Run.BaseOffset}-{append.Run.EndOffset}");
    }

    // A record's timestamp is its offset, so that a test sees which one it is.
    private static MessageRun Run(long baseOffset, int count) => new(
        baseOffset,
        Enumerable.Range(0, count).Select(
            i => new InboxRecord(baseOffset + i, default, new byte[8], default)).ToArray(),
        MessageSource.Live);
}
