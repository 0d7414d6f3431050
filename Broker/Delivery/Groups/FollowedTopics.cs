using Broker.ClusterState;
using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// The topics of a shard that a group follows, under which names and numbers, and where the group begins in them. What
/// happens to them is said to the group's dispatcher. As the <see cref="GroupServing"/> that owns it, it is used in the
/// turns of a <see cref="ShardGroups"/> alone.
/// </summary>
/// <param name="shard">Where the topics are.</param>
/// <param name="dispatcher">Hears of them.</param>
/// <param name="group">As it is at first: its name, which stays, and its filters.</param>
internal sealed class FollowedTopics(ShardPlace shard, GroupDispatcher dispatcher, ConsumerGroup group)
{
    private readonly Dictionary<int, string> _places = [];
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);
    private GroupFilters _filters = new(group.Settings.Filters);
    private IReadOnlyDictionary<int, GroupProgress> _progress = new Dictionary<int, GroupProgress>();
    private int _loads;
    private bool _isKnown;

    /// <summary>The name here of the group's dead letters, which it follows whatever its filters are.</summary>
    public string DeadPlace { get; } = DeadLetters.PlaceOf(group.Name, shard.Id, shard.Shards).Place;

    /// <summary>The numbers of topics that it follows, dead letters too, and their names here.</summary>
    public IReadOnlyDictionary<int, string> All => _places;

    /// <summary>The shard has said where the group begins, and nothing newer was asked for since.</summary>
    public bool CanBegin => _loads == 0 && _isKnown;

    public bool TryGetNumber(string place, out int number) => _numbers.TryGetValue(place, out number);

    /// <summary>A topic that was followed, as it is now. False: it is gone, and not followed any more.</summary>
    public bool TryGet(int number, out TopicView view)
    {
        if (shard.Topics.TryGetTopic(_places[number], out view) && view.Number == number)
        {
            return true;
        }

        Unfollow(number);
        return false;
    }

    public bool IsOfTheDead(int number) => _places.GetValueOrDefault(number) == DeadPlace;

    /// <summary>What the shard remembers of the group, as of an entry behind the leader's first.</summary>
    public void Load(IReadOnlyDictionary<int, GroupProgress> progress)
    {
        _progress = progress;
        foreach (var number in dispatcher.Topics.ToArray())
        {
            var isHere = shard.Topics.TryGetTopic(_places[number], out var view) && view.Number == number;
            if (!isHere || !Follows(view.Name))
            {
                Unfollow(number);
            }
        }

        _isKnown = true;
    }

    /// <summary>
    /// The group begins, or follows other topics now. Until the shard has said how far the group is in them, behind all
    /// that was proposed while it followed them before, it does not begin with a topic.
    /// </summary>
    public void BeginLoading() => _loads++;

    /// <summary>What the shard has said since is as new as was asked for.</summary>
    public void EndLoading() => _loads--;

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

    public bool Follows(string place) => place == DeadPlace || _filters.Matches(place);

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
            dispatcher.Follow(
                view.Number,
                _progress.GetValueOrDefault(view.Number),
                view.NextOffset,
                shard.NowUnixMs,
                place == DeadPlace);
        }

        dispatcher.OnAppended(view.Number, view.NextOffset);
        dispatcher.OnPurged(view.Number, view.FirstOffset);
    }

    /// <summary>The group has other filters: what they leave out is not followed any more.</summary>
    public void FollowBy(IEnumerable<string> filters)
    {
        _filters = new GroupFilters(filters);
        foreach (var place in _numbers.Keys.ToArray())
        {
            Look(place);
        }
    }

    private void Unfollow(int number)
    {
        dispatcher.Unfollow(number);
        if (_places.Remove(number, out var place))
        {
            _numbers.Remove(place);
        }
    }
}
