namespace Aspire.Hosting.Local;

/// <summary>Puts resources into waves: a resource stops only when nobody is left who needs it.</summary>
internal static class StopOrder
{
    public static List<List<IResource>> Of(IReadOnlyCollection<IResource> resources)
    {
        var needs = resources.ToDictionary(r => r, r => NeedsOf(r).Where(resources.Contains).ToHashSet());
        var reach = resources.ToDictionary(r => r, r => Reach(r, needs));
        var left = resources.ToHashSet();
        var waves = new List<List<IResource>>();
        while (left.Count > 0)
        {
            // Resources that need each other, such as the brokers, stop together.
            var wave = left
                .Where(r => left.All(other => !needs[other].Contains(r) || reach[r].Contains(other)))
                .ToList();
            waves.Add(wave);
            left.ExceptWith(wave);
        }

        return waves;
    }

    private static IEnumerable<IResource> NeedsOf(IResource resource) =>
        resource.Annotations.OfType<WaitAnnotation>().Select(w => w.Resource)
            .Concat(resource.Annotations.OfType<ResourceRelationshipAnnotation>().Select(r => r.Resource))
            .Select(r => r is IResourceWithParent child ? child.Parent : r)
            .Where(r => r != resource);

    private static HashSet<IResource> Reach(IResource from, Dictionary<IResource, HashSet<IResource>> needs)
    {
        var seen = new HashSet<IResource>();
        var open = new Queue<IResource>(needs[from]);
        while (open.TryDequeue(out var next))
        {
            if (seen.Add(next))
            {
                foreach (var further in needs[next])
                {
                    open.Enqueue(further);
                }
            }
        }

        return seen;
    }
}
