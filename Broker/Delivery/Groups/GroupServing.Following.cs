using Broker.ClusterState;
using Broker.Groups;

namespace Broker.Delivery;

/// <content>The topics that it follows, and where in them the group is.</content>
internal sealed partial class GroupServing
{
    /// <summary>What the shard remembers of the group, as of an entry behind the leader's first.</summary>
    public void Load(IReadOnlyDictionary<int, GroupProgress> progress)
    {
        _progress = progress;
        foreach (var number in _dispatcher.Topics.ToArray())
        {
            var isHere = shard.Topics.TryGetTopic(_places[number], out var view) && view.Number == number;
            if (!isHere || !Follows(view.Name))
            {
                Unfollow(number);
            }
        }

        _isKnown = true;
        Begin();
    }

    /// <summary>
    /// The group begins, or follows other topics now. Until the shard has said how far the group is in them, behind all
    /// that was proposed while it followed them before, it does not begin with a topic.
    /// </summary>
    public void BeginLoading() => _loads++;

    /// <summary>What the shard has said since is as new as was asked for.</summary>
    public void EndLoading()
    {
        _loads--;
        Begin();
    }

    /// <summary>Any topic may have changed.</summary>
    public void LookAtAll()
    {
        var here = shard.Topics.ListPlaces().Select(static view => view.Name);
        foreach (var place in _numbers.Keys.Concat(here).ToArray())
        {
            Look(place);
        }
    }

    /// <summary>The group's place in one topic is another one: a seek, or the topic is gone.</summary>
    public void Move(int topic, GroupProgress? progress)
    {
        if (!IsLoaded)
        {
            return;
        }

        var known = new Dictionary<int, GroupProgress>(_progress);
        known.Remove(topic);
        if (progress is not null)
        {
            known[topic] = progress;
        }

        _progress = known;
        if (_places.TryGetValue(topic, out var place))
        {
            Unfollow(topic);
            Look(place);
        }
    }

    public bool Follows(string place) => place == _dead.Place || _filters.Matches(place);

    /// <summary>A topic of that name may have come, grown, lost its beginning, or gone.</summary>
    public void Look(string place)
    {
        var isHere = shard.Topics.TryGetTopic(place, out var view) && Follows(place);
        if (_numbers.TryGetValue(place, out var number) && (!isHere || view.Number != number))
        {
            Unfollow(number);
        }

        if (!isHere)
        {
            return;
        }

        if (_loads == 0 && _places.TryAdd(view.Number, place))
        {
            _numbers[place] = view.Number;
            _dispatcher.Follow(
                view.Number, _progress.GetValueOrDefault(view.Number), view.NextOffset, Now, place == _dead.Place);
        }

        _dispatcher.OnAppended(view.Number, view.NextOffset);
        _dispatcher.OnPurged(view.Number, view.FirstOffset);
    }

    /// <summary>The group's settings may have changed; true: it may follow other topics now.</summary>
    public bool Update(ConsumerGroup group)
    {
        var isOther = !Group.Settings.Filters.SequenceEqual(group.Settings.Filters);
        Group = group;
        _dispatcher.Settings = group.Settings;
        _filters = isOther ? new GroupFilters(group.Settings.Filters) : _filters;
        foreach (var place in isOther ? _numbers.Keys.ToArray() : [])
        {
            Look(place);
        }

        return isOther;
    }

    private void Begin()
    {
        if (_loads > 0 || !_isKnown)
        {
            return;
        }

        LookAtAll();
        if (!IsLoaded)
        {
            IsLoaded = true;
            _whenLoaded.ForEach(static each => each.Then());
            _whenLoaded.Clear();
        }
    }

    private void Unfollow(int number)
    {
        _dispatcher.Unfollow(number);
        if (_places.Remove(number, out var place))
        {
            _numbers.Remove(place);
        }
    }
}
