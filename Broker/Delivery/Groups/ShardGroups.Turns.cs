using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Delivery;

/// <content>What is done in a turn, and how groups come into it.</content>
internal sealed partial class ShardGroups
{
    private void Turn()
    {
        CheckLeadership();
        _turns.TakeInputs();
        if (_servings.Count > 0)
        {
            TakeGroups();
            TakeNews();
            _queue.TakeAlarms();
        }

        var work = _queue.TakeTouched();

        // What the groups have committed in one turn becomes one entry.
        using (InputBatch.Begin())
        {
            foreach (var serving in work)
            {
                serving.Work();
            }
        }

        _counting.CountSome();
    }

    private void CheckLeadership()
    {
        var status = _shard.Replica.Status;
        var term = status.Role == RaftRole.Leader ? status.Term : default;
        if (term != _turns.Term)
        {
            EndAll(_turns.WhoLeads(status));
            _turns.Term = term;
            _served.Clear();
        }
    }

    private void EndAll(BrokerException why)
    {
        foreach (var serving in _servings.Values)
        {
            serving.End(why);
        }

        _servings.Clear();
        _consumers.Clear();
        _followers.Clear();
        _queue.Clear();
        _watched.Clear();
        _counting.End([]);
        _shard.News.IsHeard = false;
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
        _queue.Remove(serving);
    }

    /// <summary>A group that is asked for is served from then on, as long as this node leads.</summary>
    private bool TryServe(int number, out GroupServing serving, out BrokerException refusal)
    {
        refusal = null!;
        if (_servings.TryGetValue(number, out serving!))
        {
            return true;
        }

        var groups = _shard.Groups();
        if (_turns.Term == default || !_turns.Leads)
        {
            refusal = _turns.WhoLeads(_shard.Replica.Status);
        }
        else if (groups.Find(number) is not { } group)
        {
            refusal = number < groups.NextNumber ? Gone() : Refusal.NoLeader(_shard.Id);
        }
        else
        {
            var made = new GroupServing(
                _shard, _turns, _queue, MakeDeadLetters, group, ++_servingsMade << LeaseBits);
            serving = made;
            _servings.Add(number, serving);
            _followers.Clear();
            _watched[number] = serving;
            _shard.News.IsHeard = true;
            Load(made, isFirst: _served.Add(number));
        }

        return refusal is null;
    }

    private static BrokerException Gone() => Refusal.NotFound("The group was deleted.");

    private void Load(GroupServing serving, bool isFirst)
    {
        serving.BeginLoading();
        _turns.Run(() => LoadAsync(serving, isFirst));
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
                await _shard.Replica.ReadIndexAsync(_turns.Stopping);
            }
            else
            {
                await _turns.PassAsync(serving.Group.Number);
            }

            _shard.Replica.InTurn(() =>
            {
                serving.IsCaughtUp = true;
                OnChanged(serving.Group.Number, -1);
                _turns.Post(() => Of(serving, serving.EndLoading));
            });
            _shard.Replica.LookForDuties();
        }
        catch (Exception failure) when (failure is BrokerException or OperationCanceledException)
        {
            _turns.Post(() => Of(serving, () => End(serving, failure as BrokerException ?? Refusal.Stopping())));
        }
    }

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
            || _shard.Progress.Groups.GetValueOrDefault(number) is not { IsOpen: true } here)
        {
            return;
        }

        if (topic >= 0)
        {
            var one = here.Find(topic)?.Copy();
            _turns.Post(() => Of(serving, () => serving.Move(topic, one)));
            return;
        }

        var all = here.Progress.ToDictionary(static each => each.Key, static each => each.Value.Copy());
        _turns.Post(() => Of(serving, () => serving.Load(all)));
    }

    private void Of(GroupServing serving, Action then)
    {
        if (_servings.GetValueOrDefault(serving.Group.Number) == serving)
        {
            _queue.Touch(serving);
            then();
        }
    }

    private void Of(SessionKey session, Action<ShardConsumer> then) => _turns.Post(() =>
    {
        if (_consumers.TryGetValue(session, out var consumer))
        {
            then(consumer);
            _queue.Touch(consumer.Serving);
        }
    });

    private Task<T> AskAsync<T>(
        int group, Action<GroupServing, TaskCompletionSource<T>> ask, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _turns.Post(() =>
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
            _queue.Touch(serving);
        });
        return done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Groups that were changed, or deleted.</summary>
    private void TakeGroups()
    {
        var groups = _shard.Groups();
        if (ReferenceEquals(groups, _groups))
        {
            return;
        }

        _groups = groups;
        foreach (var serving in _servings.Values.ToArray())
        {
            if (groups.Find(serving.Group.Number) is not { } group)
            {
                _shard.Metrics.Forget(serving.Group.Number, serving.Group.Name);
                End(serving, Gone());
                continue;
            }

            if (serving.Update(group))
            {
                _followers.Clear();
                Load(serving, isFirst: false);
            }

            _queue.Touch(serving);
        }
    }

    private void TakeNews()
    {
        if (_shard.News.TakeAll())
        {
            foreach (var serving in _servings.Values.Where(static each => each.IsLoaded))
            {
                serving.Topics.LookAtAll();
                _queue.Touch(serving);
            }
        }

        _shard.News.TakePlaces(_places);
        foreach (var place in _places)
        {
            // One that is not loaded looks at all when it is: before, it does not know where it begins.
            foreach (var serving in FollowersOf(place).Where(static each => each.IsLoaded))
            {
                serving.Topics.Look(place);
                _queue.Touch(serving);
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

    private void BeginCounting()
    {
        if (_turns.Term == default || !_turns.Leads)
        {
            _counting.End([]);
            return;
        }

        // What nobody consumes has a lag, too.
        foreach (var number in _shard.Groups().ByNumber.Keys.Where(each => !_servings.ContainsKey(each))
            .Take(ServedAtOnce))
        {
            TryServe(number, out _, out _);
        }

        _counting.Begin();
    }

    private async Task WatchLeaderAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var seen = _shard.Replica.Status;
            _shard.News.Wake();
            await _shard.Replica.WaitForChangeAsync(seen, cancellationToken);
        }
    }
}
