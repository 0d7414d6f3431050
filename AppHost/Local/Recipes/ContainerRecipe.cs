using System.Globalization;

namespace Aspire.Hosting.Local;

/// <summary>
/// A container whose image is known to hold one program that Debian has too. Paths inside the container become the
/// folders
/// that are mounted there: <c>--config.file=/etc/prometheus/prometheus.yml</c> with the folder /data/p mounted at
/// /etc/prometheus is <c>--config.file=/data/p/prometheus.yml</c>.
/// </summary>
internal sealed class ContainerRecipe(ContainerResource resource, DataRoot root) : LaunchRecipe
{
    /// <summary>
    /// Image name to program, its Debian package, and the argument that makes it listen on a port of its own.
    /// </summary>
    private static readonly Dictionary<string, (string Program, string Package, string ListenArgument)> Images = new()
    {
        ["prom/prometheus"] = ("prometheus", "prometheus", "--web.listen-address=localhost:{0}"),
    };

    public override Task<LaunchPlan> PrepareAsync(LaunchInput input, CancellationToken cancellationToken)
    {
        if (!resource.TryGetLastAnnotation<ContainerImageAnnotation>(out var image) ||
            !Images.TryGetValue(image.Image, out var known))
        {
            throw new DistributedApplicationException(
                $"The container '{resource.Name}' cannot run without a container runtime: " +
                "no program is known for its image. " +
                $"Known images: {string.Join(", ", Images.Keys)}.");
        }

        var folder = root.FolderOf(resource.Name);
        Directory.CreateDirectory(folder);

        // A bind mount's source is a full path, which stays; a volume's is a name, and becomes a folder of the root.
        var mounts = resource.Annotations.OfType<ContainerMountAnnotation>()
            .Select(m => (m.Target, Source: Path.Combine(root.Path, m.Source!)))
            .OrderByDescending(m => m.Target.Length)
            .ToList();
        foreach (var (_, source) in mounts)
        {
            Directory.CreateDirectory(source);
        }

        var port = resource.Annotations.OfType<EndpointAnnotation>().First().AllocatedEndpoint!.Port;
        return Task.FromResult(new LaunchPlan
        {
            FileName = Executables.Find(known.Program, known.Package),
            Arguments =
            [
                .. input.Arguments.Select(argument => MapPath(argument, mounts)),
                string.Format(CultureInfo.InvariantCulture, known.ListenArgument, port),
            ],
            Environment = input.Environment,
            WorkingDirectory = folder,
        });
    }

    private static string MapPath(string argument, IReadOnlyList<(string Target, string Source)> mounts)
    {
        var start = argument.IndexOf('=', StringComparison.Ordinal) + 1;
        var path = argument[start..];
        foreach (var (target, source) in mounts)
        {
            if (path == target || path.StartsWith($"{target}/", StringComparison.Ordinal))
            {
                return $"{argument[..start]}{source}{path[target.Length..]}";
            }
        }

        return argument;
    }
}
