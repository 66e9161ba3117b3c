# Writes the page that the other member serves: how often this process was started, and what the time is.
cd /pages || exit
read -r starts <starts || starts=0
starts=$((starts + 1))
echo "$starts" >starts
trap 'exit' TERM
while :; do
    read -r greeting </greeting
    # Beside, and then in its place: nobody is served half a page.
    echo "<!doctype html><title>$greeting</title><h1>$greeting</h1><p>Start $starts, $(date -u)</p>" >page.new
    mv page.new index.html
    sleep 1 &
    wait $!
done
