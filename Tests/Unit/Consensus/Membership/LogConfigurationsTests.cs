using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>A group that began with voters 1, 2 and 3.</summary>
public sealed class LogConfigurationsTests
{
    private static readonly NodeId[] First = [new(1), new(2), new(3)];

    private readonly Ready _ready = new();

    [Fact]
    public void Group_begins_with_the_voters_of_its_options_and_tells_the_disk_with_the_first_write()
    {
        var known = New(new RaftInitialState());
        Assert.Equal(First, known.Latest.Voters);

        known.TakeInto(_ready, isWritten: false);
        Assert.Null(_ready.Configuration);
        known.TakeInto(_ready, isWritten: true);
        Assert.Same(known.Latest, _ready.Configuration);
        known.TakeInto(_ready, isWritten: true);
        Assert.Null(_ready.Configuration);
    }

    [Fact]
    public void Replica_that_lost_its_disk_knows_nobody() =>
        Assert.Same(GroupConfiguration.None, New(new RaftInitialState { HardState = HardState.Lost }).Latest);

    [Fact]
    public void Latest_holds_at_a_start_when_the_log_reaches_it()
    {
        Assert.Equal(9, Recover(latest: 9, previous: 4, last: 9).Latest.Index.Value);

        var torn = Recover(latest: 9, previous: 4, last: 8);

        Assert.Equal((4, null), (torn.Latest.Index.Value, torn.Previous));
        torn.TakeInto(_ready, isWritten: true);
        Assert.Same(torn.Latest, _ready.Configuration);
    }

    [Fact]
    public void Neither_holds_when_damage_cut_the_log_before_both() =>
        Assert.Same(GroupConfiguration.None, Recover(latest: 9, previous: 4, last: 3, fence: 12).Latest);

    [Fact]
    public void Log_that_ends_before_both_without_damage_is_refused() =>
        Assert.ThrowsAny<Exception>(() => Recover(latest: 9, previous: 4, last: 3));

    [Fact]
    public void Next_is_appended_only_when_the_latest_is_flushed()
    {
        var known = New(new RaftInitialState());
        known.Append(At(5, 4));

        Assert.False(known.CanAppend(new LogIndex(4)));
        Assert.True(known.CanAppend(new LogIndex(5)));
    }

    [Fact]
    public void Truncated_one_gives_way_to_the_one_before()
    {
        var known = New(new RaftInitialState());
        var first = known.Latest;
        known.Append(At(5, 4));
        known.TruncateFrom(new LogIndex(6));
        Assert.Equal(5, known.Latest.Index.Value);

        known.TruncateFrom(new LogIndex(5));

        Assert.Same(first, known.Latest);
    }

    [Fact]
    public void Two_are_never_truncated()
    {
        var known = New(new RaftInitialState());
        known.Append(At(5, 4));
        known.Append(At(7, 5));

        Assert.ThrowsAny<Exception>(() => known.TruncateFrom(new LogIndex(5)));
    }

    [Fact]
    public void Configuration_of_this_leader_is_named_once_for_appending()
    {
        var known = New(new RaftInitialState());
        var own = At(5, 4);
        known.AppendOwn(own);

        known.TakeInto(_ready, isWritten: true);
        Assert.Equal((own, own), (_ready.AppendedConfiguration, _ready.Configuration));
        Assert.Equal(First, _ready.PreviousConfiguration!.Voters);
        known.TakeInto(_ready, isWritten: true);
        Assert.Null(_ready.AppendedConfiguration);
    }

    [Fact]
    public void Configuration_that_is_truncated_before_it_was_named_is_not_appended()
    {
        var known = New(new RaftInitialState());
        known.AppendOwn(At(5, 4));
        known.TruncateFrom(new LogIndex(5));

        known.TakeInto(_ready, isWritten: true);

        Assert.Null(_ready.AppendedConfiguration);
    }

    [Fact]
    public void Snapshot_leaves_nothing_to_fall_back_to()
    {
        var known = New(new RaftInitialState());
        known.AppendOwn(At(5, 4));

        known.ReplaceAll(At(30, 9));

        Assert.Equal((30, null), (known.Latest.Index.Value, known.Previous));
        known.TakeInto(_ready, isWritten: true);
        Assert.Null(_ready.AppendedConfiguration);
    }

    /// <summary>Raft thesis 4.2.2.</summary>
    [Fact]
    public void Removed_voter_may_still_be_needed_until_that_has_committed()
    {
        var known = New(new RaftInitialState());
        known.Append(new GroupConfiguration(new LogIndex(5), First[..2], []));

        Assert.True(known.MayStillNeed(First[2], new LogIndex(4)));
        Assert.False(known.MayStillNeed(First[2], new LogIndex(5)));
        Assert.False(known.MayStillNeed(new NodeId(9), new LogIndex(4)));
    }

    private static LogConfigurations New(RaftInitialState initial) => new(initial, First);

    private static LogConfigurations Recover(int latest, int previous, int last, int fence = 0) => New(
        new RaftInitialState
        {
            LastIndex = new LogIndex(last),
            Configuration = At(latest, 5),
            PreviousConfiguration = At(previous, 4),
            Fence = fence == 0 ? LogPosition.None : new LogPosition(new LogIndex(fence), new Term(1)),
        });

    private static GroupConfiguration At(int index, int learner) =>
        new(new LogIndex(index), First, [new NodeId(learner)]);
}
