using Broker.Consensus;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Delivery;

/// <content>What is done in a turn, and how groups come into it.</content>
internal sealed partial class ShardGroups
{
    private void Turn()
    {
        CheckLeadership();
        while (_inputs.TryDequeue(out var input))
        {
            input();
        }

        if (_servings.Count > 0)
        {
            TakeGroups();
            TakeNews();
            TakeAlarms();
        }

        GroupServing[] work = [.. _touched];
        _touched.Clear();

        // What the groups have committed in one turn becomes one entry.
        using (InputBatch.Begin())
        {
            foreach (var serving in work)
            {
                serving.Work();
            }
        }

        CountSome();
    }

    private void CheckLeadership()
    {
        var status = shard.Replica.Status;
        var term = status.Role == RaftRole.Leader ? status.Term : default;
        if (term != _term)
        {
            EndAll(WhoLeads(status));
            _term = term;
            _served.Clear();
        }
    }

    private BrokerException WhoLeads(GroupStatus status) => status.Leader.IsNone || status.Role == RaftRole.Leader
        ? Refusal.NoLeader(shard.Id)
        : Refusal.NotLeader(shard.Id, status.Leader);

    private void EndAll(BrokerException why)
    {
        foreach (var serving in _servings.Values)
        {
            serving.End(why);
        }

        _servings.Clear();
        _consumers.Clear();
        _followers.Clear();
        _touched.Clear();
        _alarms.Clear();
        _watched.Clear();
        EndCounting([]);
        shard.News.IsHeard = false;
    }

    private void End(GroupServing serving, BrokerException why)
    {
        foreach (var consumer in serving.Consumers)
        {
            _consumers.Remove(consumer.Session);
        }

        serving.End(why);
        _servings.Remove(serving.Group.Number);
        _watched.TryRemove(serving.Group.Number, out _);
        _followers.Clear();
        _touched.Remove(serving);
    }

    /// <summary>A group that is asked for is served from then on, as long as this node leads.</summary>
    private bool TryServe(int number, out GroupServing serving, out BrokerException refusal)
    {
        refusal = null!;
        if (_servings.TryGetValue(number, out serving!))
        {
            return true;
        }

        var groups = shard.Groups();
        if (_term == default || !Leads)
        {
            refusal = WhoLeads(shard.Replica.Status);
        }
        else if (groups.Find(number) is not { } group)
        {
            refusal = number < groups.NextNumber ? Gone() : Refusal.NoLeader(shard.Id);
        }
        else
        {
            var made = new GroupServing(this, shard, group, _term, ++_servingsMade << LeaseBits);
            serving = made;
            _servings.Add(number, serving);
            _followers.Clear();
            _watched[number] = serving;
            shard.News.IsHeard = true;
            Load(made, isFirst: _served.Add(number));
        }

        return refusal is null;
    }

    private static BrokerException Gone() => Refusal.NotFound("The group was deleted.");

    private void Load(GroupServing serving, bool isFirst)
    {
        serving.BeginLoading();
        Run(() => LoadAsync(serving, isFirst));
    }

    /// <summary>
    /// What the shard remembers is asked for when all is applied that any leader before this one has committed, and
    /// that this one has proposed before: a record that is settled by then is not delivered again.
    /// </summary>
    private async Task LoadAsync(GroupServing serving, bool isFirst)
    {
        try
        {
            if (isFirst)
            {
                await shard.Replica.ReadIndexAsync(_stopping);
            }
            else
            {
                await PassAsync(serving.Group.Number);
            }

            shard.Replica.InTurn(() =>
            {
                serving.IsCaughtUp = true;
                OnChanged(serving.Group.Number, -1);
                Post(() => Of(serving, serving.EndLoading));
            });
            shard.Replica.LookForDuties();
        }
        catch (Exception failure) when (failure is BrokerException or OperationCanceledException)
        {
            Post(() => Of(serving, () => End(serving, failure as BrokerException ?? Refusal.Stopping())));
        }
    }

    /// <summary>All is applied that was proposed here before.</summary>
    /// <exception cref="BrokerException">Nobody knows, as whether a command was committed is not known.</exception>
    private Task<CommandResult> PassAsync(int group) =>
        Propose(into => GroupCommands.WriteBarrier(into, group)).Done.WaitAsync(_stopping);

    /// <summary>On the thread that applies: what others may look at later is copied.</summary>
    private void OnChanged(int number, int topic)
    {
        if (number < 0)
        {
            foreach (var (watched, _) in _watched)
            {
                OnChanged(watched, -1);
            }

            return;
        }

        if (!_watched.TryGetValue(number, out var serving) || !serving.IsCaughtUp
            || shard.Progress.Groups.GetValueOrDefault(number) is not { IsOpen: true } here)
        {
            return;
        }

        if (topic >= 0)
        {
            var one = here.Find(topic)?.Copy();
            Post(() => Of(serving, () => serving.Move(topic, one)));
            return;
        }

        var all = here.Progress.ToDictionary(static each => each.Key, static each => each.Value.Copy());
        Post(() => Of(serving, () => serving.Load(all)));
    }

    private void Of(GroupServing serving, Action then)
    {
        if (_servings.GetValueOrDefault(serving.Group.Number) == serving)
        {
            Touch(serving);
            then();
        }
    }

    private void Of(SessionKey session, Action<ShardConsumer> then) => Post(() =>
    {
        if (_consumers.TryGetValue(session, out var consumer))
        {
            then(consumer);
            Touch(consumer.Serving);
        }
    });

    private Task<T> AskAsync<T>(
        int group, Action<GroupServing, TaskCompletionSource<T>> ask, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() =>
        {
            if (!TryServe(group, out var serving, out var refusal))
            {
                done.TrySetException(refusal);
                return;
            }

            serving.WhenLoaded(
                () =>
                {
                    try
                    {
                        ask(serving, done);
                    }
                    catch (BrokerException why)
                    {
                        done.TrySetException(why);
                    }
                },
                why => done.TrySetException(why));
            Touch(serving);
        });
        return done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Groups that were changed, or deleted.</summary>
    private void TakeGroups()
    {
        var groups = shard.Groups();
        if (ReferenceEquals(groups, _groups))
        {
            return;
        }

        _groups = groups;
        foreach (var serving in _servings.Values.ToArray())
        {
            if (groups.Find(serving.Group.Number) is not { } group)
            {
                shard.Metrics.Forget(serving.Group.Number, serving.Group.Name);
                End(serving, Gone());
                continue;
            }

            if (serving.Update(group))
            {
                _followers.Clear();
                Load(serving, isFirst: false);
            }

            Touch(serving);
        }
    }

    private void TakeNews()
    {
        if (shard.News.TakeAll())
        {
            foreach (var serving in _servings.Values.Where(static each => each.IsLoaded))
            {
                serving.Topics.LookAtAll();
                Touch(serving);
            }
        }

        shard.News.TakePlaces(_places);
        foreach (var place in _places)
        {
            // One that is not loaded looks at all when it is: before, it does not know where it begins.
            foreach (var serving in FollowersOf(place).Where(static each => each.IsLoaded))
            {
                serving.Topics.Look(place);
                Touch(serving);
            }
        }

        _places.Clear();
    }

    private List<GroupServing> FollowersOf(string place)
    {
        if (!_followers.TryGetValue(place, out var followers))
        {
            // Topics that were deleted stay in it: beyond what a cluster may have it begins anew.
            if (_followers.Count >= Limits.Topics)
            {
                _followers.Clear();
            }

            followers = [.. _servings.Values.Where(serving => serving.Topics.Follows(place))];
            _followers.Add(place, followers);
        }

        return followers;
    }

    private void TakeAlarms()
    {
        var now = Now;
        while (_alarms.TryPeek(out var serving, out var at) && at <= now)
        {
            _alarms.Dequeue();
            if (serving.AlarmUnixMs <= now)
            {
                serving.AlarmUnixMs = long.MaxValue;
                Touch(serving);
            }
        }
    }

    private (int Number, long Offset)[] PlanSeek(
        GroupServing serving, Func<string, int, bool> isWanted, GroupSeek target)
    {
        var moves = new List<(int Number, long Offset)>();
        foreach (var (number, place) in serving.Places)
        {
            // What is due goes with its topic, but for an offset, which is of the topic's own.
            var (topic, partition) = PartitionName.Parse(DueTopic.TargetOf(place));
            if ((target.Offset is not null && DueTopic.IsOne(place)) || !isWanted(topic, partition)
                || !shard.Topics.TryGetTopic(place, out var view) || view.Number != number)
            {
                continue;
            }

            var offset = target.Offset
                ?? (target.TimeUnixMs is { } time ? (view.TryFindTime(time, out var found) ? found : view.FirstOffset)
                : target.IsEnd ? view.NextOffset
                : 0);
            moves.Add((number, offset));
        }

        return [.. moves];
    }

    private async Task WatchLeaderAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var seen = shard.Replica.Status;
            shard.News.Wake();
            await shard.Replica.WaitForChangeAsync(seen, cancellationToken);
        }
    }
}
