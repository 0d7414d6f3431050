using Broker.Diagnostics;

namespace Broker.Delivery;

/// <content>What the metrics say of the group here.</content>
internal sealed partial class GroupServing
{
    /// <summary>How far it is, over all its topics here.</summary>
    public ConsumerGroupFigures Figures()
    {
        var now = Now;
        var (lag, outstanding, delayed, oldest) = (0L, 0L, 0L, now);
        foreach (var (number, place) in Places)
        {
            var lane = _dispatcher.Describe(number, now);
            if (lane.Fresh + lane.Known > 0)
            {
                lag += lane.Fresh + lane.Known;
                outstanding += lane.Out;
                delayed += lane.Delayed;
                oldest = TimeOf(place, lane.Floor, lane.Next) is > 0 and var time ? Math.Min(oldest, time) : oldest;
            }
        }

        return new ConsumerGroupFigures(
            Group.Name, lag, outstanding, delayed, TimeSpan.FromMilliseconds(now - oldest));
    }

    private void Count()
    {
        var tally = _dispatcher.TakeTally();
        if (tally != default)
        {
            _counts.AddSettled(tally.Acked, tally.Nacked, tally.Lapsed, tally.GivenUp, tally.Expired);
        }
    }
}
